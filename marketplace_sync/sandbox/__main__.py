"""python -m marketplace_sync.sandbox [--port 8787] [--seed-file world.json]"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .client import DIALECTS
from .control import BAD_SPEC
from .server import SandboxServer
from .world import WorldError

DEMO_STOCK = {
	"BABY-BOTTLE-240": 25,
	"BABY-BIB-RED": 8,
	"BABY-BIB-BLUE": 8,
	"STROLLER-01": 3,
	"DIAPER-M-52": 120,
}
DEMO = {
	"shops": [
		{"id": "100001", "dialect": "shopee", "name": "Shopee - Mybabystore", "stock": DEMO_STOCK},
		{
			"id": "700001",
			"dialect": "tiktok",
			"name": "TikTok Shop + Tokopedia - Mybabystore",
			"storefronts": ["TIKTOK_SHOP", "TOKOPEDIA"],
			"stock": DEMO_STOCK,
		},
		{"id": "flat-1", "dialect": "flat", "name": "Flat demo shop", "stock": DEMO_STOCK},
	],
	"books": [
		{"id": "1156", "dialect": "accurate", "name": "PT Mybabystore", "stock": DEMO_STOCK},
		{"id": "2257", "dialect": "jurnal", "name": "CV Mybabystore", "stock": DEMO_STOCK},
	],
}
NAMES = {
	"shopee": ("shop_id", "partner_id", "partner_key", "access_token", "refresh_token"),
	"tiktok": ("app_key", "app_secret", "service_id", "shop_cipher", "access_token", "refresh_token"),
	"flat": ("access_token",),
}
NAMES_OF_BOOKS = ("client_id", "client_secret", "token", "signature_secret")


def introduce(server: SandboxServer) -> None:
	print(f"Marketplace sandbox: {server.url} (open it in a browser; `connect` takes it)")
	print("\nAPI addresses, for a store's form:")
	for name in DIALECTS:
		print(f"  {name:12} {server.base_url(name)}")
	print(f"  {'control':12} {server.url}/_sandbox")
	for shop in server.control.shops():
		print(f"\n{shop['name']} ({shop['dialect']}, shop {shop['id']}, {shop['skus']} SKUs)")
		for name in NAMES[shop["dialect"]]:
			print(f"  {name:14} {shop[name]}")
	for books in server.control.all_books():
		print(f"\n{books['name']} ({books['dialect']}, books {books['id']}, {books['items']} items)")
		for name in NAMES_OF_BOOKS:
			print(f"  {name:16} {books[name]}")
	print("\nEnd with Ctrl-C.", flush=True)


def end_with_server(server: SandboxServer, ended: threading.Event) -> None:
	"""The control API's shutdown ends the server's thread, and with it the process."""
	server.wait()
	ended.set()


def end_with_parent(ended: threading.Event) -> None:
	"""A parent that died without a word closes our standard input: don't outlive it."""
	# Not sys.stdin: a thread that waits inside its buffer makes the interpreter abort at its end.
	while os.read(0, 1024):
		pass
	ended.set()


def main(arguments: Sequence[str] | None = None, program: str = "python -m marketplace_sync.sandbox") -> None:
	parser = argparse.ArgumentParser(
		prog=program,
		description="A sandbox of marketplaces and accounting services.",
	)
	parser.add_argument(
		"--host", default="127.0.0.1", help="loopback by default: the control API has no password"
	)
	parser.add_argument("--port", type=int, default=8787, help="0 takes a free one")
	parser.add_argument(
		"--seed-file",
		type=Path,
		help='JSON: {"shops": [...], "books": [...]}; without it demo shops and books',
	)
	parser.add_argument(
		"--announce",
		action="store_true",
		help="for a program that starts it: an empty world, one line of JSON with the URL, and it ends with its standard"
		" input",
	)
	given = parser.parse_args(arguments)
	if not 0 <= given.port <= 65_535:
		parser.error(f"--port: {given.port} is none; take one up to 65535, or 0 for a free one")
	# A full collection over a million SKUs and writes stops the server for a good part of a second, and a benchmark would
	# take that for the app's latency. Nothing here makes cycles worth collecting.
	gc.set_threshold(100_000, 50, 1_000_000)
	seed: dict[str, Any] | None = None if given.announce else DEMO
	if given.seed_file:
		try:
			seed = json.loads(given.seed_file.read_text())
		except (OSError, ValueError) as error:
			parser.error(f"--seed-file: {error}")
		if not isinstance(seed, dict):
			parser.error(f'--seed-file: {given.seed_file} must hold {{"shops": [...], "books": [...]}}')
	try:
		server = SandboxServer(given.host, given.port, seed)
	except OSError as error:
		parser.error(
			f"--port: {given.port} can't be used ({error.strerror}); take another, or 0 for a free one"
		)
	except BAD_SPEC as error:
		if not given.seed_file:
			raise
		what = "" if isinstance(error, WorldError) else f"{type(error).__name__}: "
		parser.error(f"--seed-file: {given.seed_file}: {what}{error}")
	ended = threading.Event()
	for number in (signal.SIGINT, signal.SIGTERM):
		signal.signal(number, lambda *_: ended.set())
	with server:
		if given.announce:
			print(json.dumps({"url": server.url}), flush=True)
		else:
			introduce(server)
		threading.Thread(target=end_with_server, args=(server, ended), daemon=True).start()
		if given.announce:
			threading.Thread(target=end_with_parent, args=(ended,), daemon=True).start()
		ended.wait()


if __name__ == "__main__":
	main()
