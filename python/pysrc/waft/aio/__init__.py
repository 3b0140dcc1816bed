"""waft's machines on asyncio: an MQTT client and broker, a CoAP client and gateway, a device."""

from .coap import Answer, CoapClient, CoapError
from .device import Device, DeviceConfig, Outcome
from .flash import FileFlash
from .gateway import GatewayServer, serve_gateway
from .mqtt import Allow, BrokerServer, Deny, Message, MqttClient, MqttError, publish_all, serve_broker

__all__ = [
    "Allow",
    "Answer",
    "BrokerServer",
    "CoapClient",
    "CoapError",
    "Deny",
    "Device",
    "DeviceConfig",
    "FileFlash",
    "GatewayServer",
    "Message",
    "MqttClient",
    "MqttError",
    "Outcome",
    "publish_all",
    "serve_broker",
    "serve_gateway",
]
