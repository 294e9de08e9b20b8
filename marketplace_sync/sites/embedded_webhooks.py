"""The embedded host's webhook endpoint: a small HTTP server that keeps genuine pushes, as `webhooks.py` does on a Frappe site.

It exists for the demo and listens on this machine only.
"""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer

from marketplace_sync.connectors import CONNECTORS
from marketplace_sync.orders.inbox import record_push
from marketplace_sync.sites.embedded_site import EmbeddedSite
from marketplace_sync.sites.sql import marks

LARGEST_BODY = 64 * 1024
"""Bytes. The longest documented push is a few kilobytes."""
SECONDS_TO_SEND = 5.0
MARKETPLACES = {"/shopee": ("Shopee",), "/tiktok": ("TikTok Shop", "Tokopedia")}
"""An app has one address for all its shops. TikTok Shop's app serves Tokopedia too."""


class Webhooks:
	"""A context manager: inside it `url(path)` takes pushes. `counted` tells what came of them."""

	def __init__(self, site: EmbeddedSite):
		self._site = site
		self.counted: Counter[str] = Counter()
		webhooks = self

		class Handler(BaseHTTPRequestHandler):
			timeout = SECONDS_TO_SEND

			def do_POST(self) -> None:
				length = self.headers.get("Content-Length") or "0"
				if not length.isdigit() or int(length) > LARGEST_BODY:
					status = 413
				else:
					signature = self.headers.get("Authorization") or ""
					status = webhooks.take(self.path, signature, self.rfile.read(int(length)))
				self.send_response(status)
				self.send_header("Content-Length", "0")
				self.end_headers()

			def log_message(self, *_arguments: object) -> None:
				pass

		self._server = HTTPServer(("127.0.0.1", 0), Handler)
		self._thread = threading.Thread(target=self._serve, name="marketplace-webhooks", daemon=True)

	def url(self, path: str) -> str:
		return f"http://127.0.0.1:{self._server.server_port}{path}"

	def __enter__(self) -> Webhooks:
		self._thread.start()
		return self

	def __exit__(self, *_exc: object) -> None:
		self._server.shutdown()
		self._thread.join()
		self._server.server_close()

	def _serve(self) -> None:
		self._own = self._site.sibling()
		try:
			self._server.serve_forever(poll_interval=0.1)
		finally:
			self._own.close()

	def take(self, path: str, signature: str, body: bytes) -> int:
		"""Keep one push; returns the HTTP status. In the server's thread."""
		marketplaces = MARKETPLACES.get(path)
		if not marketplaces:
			return 404
		connector, db = CONNECTORS[marketplaces[0]], self._own.db
		apps = db.rows(
			"SELECT DISTINCT app_id, app_secret FROM `tabCustomer Marketplace Settings`"
			f" WHERE marketplace IN ({marks(marketplaces)})",
			marketplaces,
		)
		db.commit()
		# Every pair is compared, so that the time tells nothing.
		fits = [
			connector.is_genuine_push(app_id or "", secret or "", self.url(path), signature, body)
			for app_id, secret in apps
		]
		if not any(fits):
			self.counted["refused"] += 1
			return 401
		try:
			push = connector.read_push(body)
		except ValueError:
			self.counted["unreadable"] += 1
			return 200  # or it would come for ever
		stores = db.rows(
			f"SELECT name FROM `tabCustomer Marketplace Settings` WHERE marketplace IN ({marks(marketplaces)}) AND shop_id = %s"
			" AND import_orders = 1",
			(*marketplaces, push.shop_id),
		)
		db.commit()
		if not stores or not push.order_ids:
			self.counted["of no concern"] += 1
			return 200
		store = stores[0][0]
		new = record_push(self._own, store, push.order_ids, push.delivery_id, push.status, push.kind)
		db.commit()
		self.counted["taken" if new else "repeated"] += 1
		if new:
			self._own.wake_orders(store)
		return 200
