"""What a dialect gets and gives: one HTTP request as it came in, one answer as it should go out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from .books import Books, Written
from .world import Shop, Sku, World

Party = Shop | Books
"""Whose a request is: every dialect serves one of the two."""
Thing = Sku | Written
"""What a request writes: a shop's SKU, or a document in the books."""


class BadBody(Exception):
	"""The body is not a JSON object."""


@dataclass(slots=True)
class Effects:
	"""What switched-on faults ask of a dialect while it works on one request. SKUs by seller SKU or id, documents by number."""

	refuse_skus: set[str] = field(default_factory=set)
	refuse_code: str | None = None
	poison_skus: set[str] = field(default_factory=set)
	omit_skus: set[str] | None = None
	omit_half: bool = False

	def refuses(self, sku: Thing) -> bool:
		return bool(self.refuse_skus) and (sku.seller_sku in self.refuse_skus or sku.id in self.refuse_skus)

	def poisoned(self, sku: Thing) -> bool:
		return bool(self.poison_skus) and (sku.seller_sku in self.poison_skus or sku.id in self.poison_skus)

	def omits(self, sku: Thing, position: int) -> bool:
		"""Whether the answer leaves this SKU out; `position` counts the rows of the answer from 0."""
		if self.omit_skus is not None:
			return sku.seller_sku in self.omit_skus or sku.id in self.omit_skus
		return self.omit_half and position % 2 == 1


class Request:
	"""One request. `path` is without the dialect's prefix; `clock` is the server's idea of UNIX time (a fault may skew it)."""

	__slots__ = (
		"_json", "_query", "arrival", "at", "body", "clock", "effects", "headers", "method", "path", "raw_query",
		"request_id",
	)  # fmt: skip

	def __init__(
		self, world: World, method: str, path: str, raw_query: str, headers: dict[str, str], body: bytes
	):
		self.method = method
		self.path = path
		self.raw_query = raw_query
		self.headers = headers
		self.body = body
		self.at = world.monotonic()
		self.clock = world.now()
		self.arrival = 0
		self.request_id = ""
		self.effects = Effects()
		self._query: list[tuple[str, str]] | None = None
		self._json: Any = None

	@property
	def pairs(self) -> list[tuple[str, str]]:
		if self._query is None:
			self._query = parse_qsl(self.raw_query, keep_blank_values=True)
		return self._query

	def one(self, name: str) -> str:
		"""The first value of a query parameter, "" when it is not there."""
		for key, value in self.pairs:
			if key == name:
				return value
		return ""

	def every(self, name: str) -> list[str]:
		return [value for key, value in self.pairs if key == name]

	@property
	def json(self) -> dict[str, Any]:
		"""The body as a JSON object (an empty body is an empty object). BadBody when it is anything else."""
		if self._json is None:
			if not self.body:
				self._json = {}
			else:
				try:
					self._json = json.loads(self.body)
				except ValueError as error:
					raise BadBody(str(error)) from None
		if not isinstance(self._json, dict):
			raise BadBody("not an object")
		return self._json


@dataclass(slots=True)
class Answer:
	"""`payload`: bytes go out as they are, anything else as JSON. `retry_after` in seconds becomes a header."""

	payload: Any
	status: int = 200
	headers: dict[str, str] = field(default_factory=dict)
	content_type: str = "application/json"
	retry_after: float | None = None

	def all_headers(self) -> dict[str, str]:
		"""Those that the dialect sets, Retry-After included."""
		if self.retry_after is None:
			return self.headers
		return self.headers | {"Retry-After": f"{self.retry_after:g}"}

	def encode(self) -> bytes:
		if isinstance(self.payload, bytes):
			return self.payload
		return json.dumps(self.payload, separators=(",", ":"), ensure_ascii=False).encode()


class Dialect(Protocol):
	"""How one service speaks. `check` and `perform` are apart so that a call can be accepted now and applied later."""

	def find_shop(self, request: Request) -> Party | None:
		"""The shop (or books) that the request names, before anything is verified (faults and the referee count by it)."""

	def check(self, request: Request, shop: Party | None) -> Answer | None:
		"""The refusal of a request that is not signed, timed or authorised as it must be; None when it is."""

	def perform(self, request: Request, shop: Party | None) -> Answer:
		"""Does what the request asks."""

	def written(self, request: Request, shop: Party) -> Sequence[Thing]:
		"""The SKUs whose stock, or the documents that, the request would write; never raises."""

	def throttled(self, request: Request, retry_after: float | None) -> Answer: ...

	def over_quota(self, request: Request) -> Answer: ...

	def internal_error(self, request: Request) -> Answer: ...

	def unknown_error(self, request: Request) -> Answer: ...
