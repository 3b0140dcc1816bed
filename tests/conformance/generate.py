"""Writes mqtt_server.json and mqtt_client.json beside this file: `python3 generate.py`."""

import pathlib

import client
import client_flows
import client_receiving
import server
import server_flows
import server_sessions

HERE = pathlib.Path(__file__).parent

server.tables()
server_flows.flows()
server_sessions.lasting()
server.C.write(HERE / "mqtt_server.json")
client.tables()
client_flows.flows()
client_receiving.receiving()
client.C.write(HERE / "mqtt_client.json")
