from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dialect_clients import Flat, Shopee, TikTok

from marketplace_sync.sandbox import ControlClient, SandboxServer


@pytest.fixture(scope="session")
def server() -> Iterator[SandboxServer]:
	with SandboxServer() as sandbox:
		yield sandbox


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
	server.control.reset()
	return server


@pytest.fixture
def control(sandbox: SandboxServer) -> ControlClient:
	return sandbox.control


@pytest.fixture
def shopee(sandbox: SandboxServer) -> Shopee:
	"""Item 1000: models 11 (A, 5), 12 (B, 3). Item 1001: no models (C, 9)."""
	spec: dict[str, Any] = {
		"id": "100001",
		"dialect": "shopee",
		"products": [
			{
				"id": "1000",
				"skus": [
					{"id": "11", "seller_sku": "A", "stock": 5},
					{"id": "12", "seller_sku": "B", "stock": 3},
				],
			},
			{"id": "1001", "skus": [{"seller_sku": "C", "stock": 9}]},
		],
	}
	return Shopee(sandbox.url, sandbox.control.create_shop(spec))


@pytest.fixture
def tiktok(sandbox: SandboxServer) -> TikTok:
	"""Product P: SKUs S1 (A, 5), S2 (B, 3), one warehouse. Product Q: S3 (C, 9). Merged shop."""
	spec = {
		"id": "700001",
		"dialect": "tiktok",
		"storefronts": ["TIKTOK_SHOP", "TOKOPEDIA"],
		"products": [
			{
				"id": "P",
				"skus": [
					{"id": "S1", "seller_sku": "A", "stock": 5},
					{"id": "S2", "seller_sku": "B", "stock": 3},
				],
			},
			{"id": "Q", "skus": [{"id": "S3", "seller_sku": "C", "stock": 9}]},
		],
	}
	return TikTok(sandbox.url, sandbox.control.create_shop(spec))


@pytest.fixture
def flat(sandbox: SandboxServer) -> Flat:
	return Flat(
		sandbox.url,
		sandbox.control.create_shop({"id": "f", "dialect": "flat", "stock": {"A": 5, "B": 3, "C": 9}}),
	)
