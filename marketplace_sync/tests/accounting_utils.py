"""Books in the sandbox, and connections to them made as a person clicks them together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import frappe
import requests

from marketplace_sync import accounting_api
from marketplace_sync.sandbox import SandboxServer
from marketplace_sync.sites.frappe_accounting import CONNECTION
from marketplace_sync.tests.utils import COMPANY, SHOP

_ids = itertools.count(910001)
SERVICES = {"accurate": "Accurate Online", "jurnal": "Jurnal"}


def new_books(sandbox: SandboxServer, dialect: str, **spec: Any) -> dict[str, Any]:
	"""A set of books, as README.md of the sandbox says; the answer has its credentials."""
	return sandbox.control.create_books({"id": str(next(_ids)), "dialect": dialect, **spec})


def new_connection(sandbox: SandboxServer, books: dict[str, Any], mode: str, **fields: Any) -> str:
	"""A connection that was saved for the first time: nothing but the credentials is entered."""
	dialect = books["dialect"]
	if mode == "OAuth":
		credentials = {"client_id": books["client_id"], "client_secret": books["client_secret"]}
	elif mode == "HMAC":
		credentials = {"client_id": books["token"], "client_secret": books["signature_secret"]}
	else:
		credentials = {"api_token": books["token"], "client_secret": books["signature_secret"]}
	address = sandbox.base_url(dialect)
	doc = frappe.get_doc(
		{
			"doctype": CONNECTION,
			"title": books["name"],
			"service": SERVICES[dialect],
			"company": COMPANY,
			"mode": mode,
			"base_url": address,
			"auth_url": sandbox.base_url("jurnal-auth") if dialect == "jurnal" else address,
			**credentials,
			**fields,
		}
	).insert()
	frappe.db.commit()
	return doc.name


def consent(connection: str, books: dict[str, Any]) -> None:
	"""Connect by OAuth: the owner of these books allows it in the service, which sends the browser back here."""
	code, state = give_consent(connection, books)
	accounting_api.connected(state=state, code=code)


def give_consent(connection: str, books: dict[str, Any]) -> tuple[str, str]:
	"""(code, state) with which the owner's browser comes back."""
	url = accounting_api.connect(connection)["url"]
	sent_back = requests.get(f"{url}&books={books['id']}", allow_redirects=False, timeout=10)
	assert sent_back.status_code == 302, sent_back.text
	answer = parse_qs(urlsplit(sent_back.headers["Location"]).query)
	return answer["code"][0], answer["state"][0]


def fill_mapping(connection: str, stores: list[str], accounts: dict[str, str], **fields: Any) -> None:
	"""What a person enters under Mapping: {our account: the service's}, and SHOP for its first warehouse."""
	doc = frappe.get_doc(CONNECTION, connection)
	told = accounting_api.overview(connection)["lists"]
	doc.update(
		{
			"stores": [{"store": store} for store in stores],
			"accounts": [
				{"account": account, "service_account": theirs} for account, theirs in accounts.items()
			],
			"warehouses": [
				{"warehouse": SHOP, "service_warehouse": told["warehouses"][0]["key"], "pull_stock": 1}
			],
			**fields,
		}
	)
	doc.save()
	frappe.db.commit()


def delete_connections() -> None:
	for doctype in (
		"Accounting Document",
		"Accounting Item",
		"Accounting Stock In Item",
		"Accounting Stock In",
	):
		frappe.db.delete(doctype)
	for name in frappe.get_all(CONNECTION, pluck="name"):
		frappe.delete_doc(CONNECTION, name, force=True)
	frappe.db.commit()


class Queue:
	"""Jobs that were asked for, done when the test says so, in the order of asking."""

	def __init__(self) -> None:
		self.jobs: list[tuple[str, dict[str, Any]]] = []

	def put(
		self, method: str, queue: str = "default", timeout: int = 0, job_id: str = "", **kwargs: Any
	) -> None:
		kwargs.pop("deduplicate", None)
		if isinstance(method, str) and method.startswith("marketplace_sync."):  # not Frappe's own errands
			self.jobs.append((method, kwargs))

	def work(self) -> list[str]:
		"""Do what is queued, also what that queues; returns the names of the methods."""
		done = []
		while self.jobs:
			method, kwargs = self.jobs.pop(0)
			frappe.get_attr(method)(**kwargs)
			frappe.db.commit()
			done.append(method.rsplit(".", 1)[-1])
		return done


@contextmanager
def queue_here() -> Iterator[Queue]:
	"""Nothing goes to the real queue, whose workers would do it at a moment of their own."""
	queue = Queue()
	with patch("frappe.enqueue", queue.put):
		yield queue
