//! The device: MQTT client, CoAP endpoint and update as one machine.
