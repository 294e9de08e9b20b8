"""The page for people: shops and books, listings with their stock, recent calls, faults. It refreshes itself every two seconds."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
	from .server import Sandbox

SHOWN_LISTINGS = 200
SHOWN_CALLS = 50
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
h1 { font-size: 1.3em; } h2 { font-size: 1.1em; margin-top: 1.5em; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; border-bottom: 1px solid #ddd; text-align: left; }
.number { text-align: right; } .bad { color: #b00020; } .muted { color: #777; }
"""


def _table(head: list[str], rows: list[list[Any]]) -> str:
	if not rows:
		return "<p class='muted'>none</p>"
	cells = "".join(
		"<tr>"
		+ "".join(f"<td{' class=number' if isinstance(c, int) else ''}>{escape(str(c))}</td>" for c in row)
		+ "</tr>"
		for row in rows
	)
	return "<table><tr>" + "".join(f"<th>{escape(one)}</th>" for one in head) + f"</tr>{cells}</table>"


def render(sandbox: Sandbox) -> bytes:
	world, now = sandbox.world, sandbox.world.now()
	report = sandbox.referee.report()["shops"]
	shops = []
	for shop in list(world.shops.values()):
		seen = report.get(shop.id, {"calls": 0, "worst_window": 0, "clean": True})
		verdict = "clean" if seen["clean"] else "offences"
		shops.append(
			[
				shop.id,
				shop.dialect,
				shop.name,
				len(shop.skus),
				len(shop.orders),
				seen["calls"],
				seen["worst_window"],
				verdict,
			]
		)
	books = [
		[
			one.id,
			one.dialect,
			one.name,
			len(one.items),
			len(one.invoices),
			len(one.receipts),
			len(one.deleted),
			report.get(one.id, {"calls": 0})["calls"],
		]
		for one in list(world.books.values())
	]
	calls = [
		[
			f"{now - call['at']:.1f} s ago",
			call["shop"],
			call["method"],
			call["path"],
			call["skus"],
			call["outcome"],
		]
		for call in islice(reversed(list(sandbox.recent)), SHOWN_CALLS)
	]
	faults = [
		[
			f["id"],
			f["kind"],
			f["shop"] or "every",
			f["path_contains"],
			f["probability"],
			str(f["count"]),
			f["fired"],
		]
		for f in sandbox.faults.describe_all()
	]
	parts = [
		"<!doctype html><html lang='en'><head><meta charset='utf-8'><meta http-equiv='refresh' content='2'>",
		f"<title>Marketplace sandbox</title><style>{STYLE}</style></head><body><h1>Marketplace sandbox</h1>",
		f"<p>{len(world.history)} changes of stock so far. <span class='muted'>Nothing here is a real shop.</span>"
		" See also <a href='#calls'>recent calls</a> and <a href='#books'>books</a>.</p>",
		"<h2>Shops</h2>",
		_table(
			["shop", "dialect", "name", "SKUs", "orders", "calls", "most calls in a window", "referee"], shops
		),
	]
	left = SHOWN_LISTINGS
	for shop in list(world.shops.values()):
		with shop.lock:
			rows = [
				[
					sku.seller_sku,
					sku.product.id,
					sku.id,
					sku.quantity,
					sku.reserved,
					sku.product.status,
					_lock(sku, now),
				]
				for sku in islice(shop.skus.values(), left)
			]
		left -= len(rows)
		parts.append(f"<h2>Listings of {escape(shop.name)} ({escape(shop.id)})</h2>")
		parts.append(_table(["seller SKU", "product", "SKU id", "stock", "reserved", "status", "lock"], rows))
		if len(rows) < len(shop.skus):
			parts.append(f"<p class='muted'>and {len(shop.skus) - len(rows)} more</p>")
	parts += [
		"<h2 id='calls'>Recent calls</h2>",
		_table(["when", "shop", "method", "path", "SKUs", "outcome"], calls),
		"<h2 id='books'>Books</h2>",
		_table(["books", "dialect", "name", "items", "invoices", "receipts", "deleted", "calls"], books),
		"<h2>Faults</h2>",
		_table(["id", "kind", "shop", "path contains", "probability", "count", "fired"], faults),
		"</body></html>",
	]
	return "".join(parts).encode()


def _lock(sku: Any, now: float) -> str:
	lock = sku.active_lock(now)
	return f"{lock.kind}, {lock.until - now:.0f} s left" if lock else ""
