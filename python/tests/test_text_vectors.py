"""The texts that Rust, C and Python share: ``tests/vectors/text.json``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import waft
from waft import coap, mqtt

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "tests" / "vectors" / "text.json").read_text())


def said(vector: dict[str, Any], *keys: str) -> Any:
    return vector["error"] if "error" in vector else [vector[key] for key in keys]


@pytest.mark.parametrize("v", VECTORS["uris"], ids=lambda v: v["uri"][:40])
def test_uris_are_taken_apart_as_the_vectors_say(v: dict[str, Any]) -> None:
    try:
        found = list(dataclasses.astuple(coap.Uri.parse(v["uri"])))
    except waft.Misuse as e:
        found = e.name
        assert e.code == v["code"]
    assert found == said(v, "scheme", "host", "port", "target", "literal")


@pytest.mark.parametrize("v", VECTORS["composed"], ids=lambda v: v["uri"])
def test_uris_are_put_together_as_the_vectors_say(v: dict[str, Any]) -> None:
    options = list(coap.decode(bytes.fromhex(v["hex"])).options)
    assert coap.compose_uri(v["scheme"], v["host"], v["port"], options) == v["uri"]


@pytest.mark.parametrize("v", VECTORS["resolved"], ids=lambda v: v["reference"])
def test_references_are_resolved_as_the_vectors_say(v: dict[str, Any]) -> None:
    try:
        found = [coap.resolve_uri(v["base"], v["reference"])]
    except waft.Misuse as e:
        found = e.name
    assert found == said(v, "uri")


@pytest.mark.parametrize("v", VECTORS["documents"], ids=lambda v: v["document"][:40])
def test_documents_of_links_are_read_as_the_vectors_say(v: dict[str, Any]) -> None:
    if v["whole"]:
        links = [(link["target"], [tuple(pair) for pair in link["attributes"]]) for link in v["links"]]
        assert coap.read_links(v["document"]) == links
    else:
        with pytest.raises(ValueError, match="no link"):
            coap.read_links(v["document"])


@pytest.mark.parametrize("v", VECTORS["filtered"], ids=lambda v: "&".join(v["filters"]))
def test_documents_of_links_are_filtered_as_the_vectors_say(v: dict[str, Any]) -> None:
    assert coap.write_links(coap.read_links(v["document"]), v["filters"]) == v["filtered"]


@pytest.mark.parametrize("v", VECTORS["topics"], ids=lambda v: f"{v['filter']} {v['name']}")
def test_topics_match_as_the_vectors_say(v: dict[str, Any]) -> None:
    assert mqtt.topic_matches(v["filter"], v["name"]) == v["matches"]
