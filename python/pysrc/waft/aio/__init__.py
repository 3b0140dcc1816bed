"""waft's machines on asyncio: an MQTT client and broker, a CoAP client, server and gateway, a device."""

from .broker import Allow, BrokerServer, Deny, serve_broker
from .coap import Answer, CoapClient, CoapError
from .coap_server import Asked, CoapServer, Reply, serve_coap
from .device import Device, DeviceConfig, Outcome
from .flash import FileFlash
from .gateway import GatewayServer, serve_gateway
from .mqtt import Message, MqttClient, MqttError, publish_all

__all__ = [
    "Allow",
    "Answer",
    "Asked",
    "BrokerServer",
    "CoapClient",
    "CoapError",
    "CoapServer",
    "Deny",
    "Device",
    "DeviceConfig",
    "FileFlash",
    "GatewayServer",
    "Message",
    "MqttClient",
    "MqttError",
    "Outcome",
    "Reply",
    "publish_all",
    "serve_broker",
    "serve_coap",
    "serve_gateway",
]
