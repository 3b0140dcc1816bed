"""Publishes one message and waits until the broker has it: python hello.py [port]"""
import socket, sys
from waft import Transmit, mqtt

stream = socket.create_connection(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 1883))
client, now, rx = mqtt.Client(), 0, b""
client.connect(now, peer=0, client_id="hello")
client.publish(now, "greeting", b"hello", qos=1)
while True:
    while isinstance(output := client.poll_output(now), Transmit):
        stream.sendall(output.data)
    rx += stream.recv(4096)
    handled = client.handle_input(now, 0, rx)
    if isinstance(handled.event, mqtt.Acknowledged):
        sys.exit(print("the broker has it"))
    rx = rx[handled.consumed :]
