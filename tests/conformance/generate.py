"""Writes the cases, mqtt_server.json and so on, beside this file, or into a folder: `python3 generate.py [folder]`."""

import pathlib
import sys

import client
import client_flows
import client_receiving
import coap_client
import coap_server
import server
import server_flows
import server_rights
import server_sessions

HERE = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
HERE = HERE if HERE.is_dir() else HERE.parent

server.tables()
server_flows.flows()
server_sessions.lasting()
server_rights.who()
server.C.write(HERE / "mqtt_server.json")
client.tables()
client_flows.flows()
client_receiving.receiving()
client.C.write(HERE / "mqtt_client.json")
coap_server.C.write(HERE / "coap_server.json")
coap_client.C.write(HERE / "coap_client.json")
