"""Starts the sandbox as a child process, so that a benchmark does not share its interpreter lock."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .client import ControlClient

ROOT = Path(__file__).resolve().parents[2]


class SandboxProcess:
	"""A sandbox in a child process; a context manager. `.url`, `.control`, `.base_url(name)`, `.stop()`, `.pid`."""

	def __init__(self, process: subprocess.Popen[bytes], url: str):
		self._process = process
		self.url = url
		self.pid = process.pid
		self.control = ControlClient(url)

	def base_url(self, name: str) -> str:
		return self.control.base_url(name)

	def stop(self, timeout: float = 5.0) -> None:
		"""Ends the child; kills it when it does not go by itself within `timeout` seconds."""
		self.control.close()
		self._process.terminate()
		try:
			self._process.wait(timeout)
		except subprocess.TimeoutExpired:
			self._process.kill()
			self._process.wait()
		for pipe in (self._process.stdin, self._process.stdout):
			if pipe is not None:
				pipe.close()

	def __enter__(self) -> SandboxProcess:
		return self

	def __exit__(self, *_exc: object) -> None:
		self.stop()


def start_process(seed: dict[str, Any] | None = None, port: int = 0, timeout: float = 15.0) -> SandboxProcess:
	"""Starts a sandbox and waits until it answers. RuntimeError when it does not within `timeout` seconds."""
	environment = os.environ | {
		"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
	}
	command = [sys.executable, "-m", "marketplace_sync.sandbox", "--port", str(port), "--announce"]
	process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
	try:
		url = _announced_url(process, timeout)
		sandbox = SandboxProcess(process, url)
		sandbox.control.health()
		if seed:
			sandbox.control.seed(seed)
		return sandbox
	except BaseException:
		process.kill()
		process.wait()
		raise


def _announced_url(process: subprocess.Popen[bytes], timeout: float) -> str:
	"""The child writes one line of JSON once its socket listens; wait for that line, not for a time."""
	assert process.stdout is not None
	deadline, line = time.monotonic() + timeout, b""
	with selectors.DefaultSelector() as selector:
		selector.register(process.stdout, selectors.EVENT_READ)
		while not line.endswith(b"\n"):
			if not selector.select(max(0.0, deadline - time.monotonic())):
				raise RuntimeError(f"the sandbox did not answer within {timeout} seconds")
			piece = os.read(process.stdout.fileno(), 65536)
			if not piece:
				raise RuntimeError(f"the sandbox ended with code {process.wait()} before it answered")
			line += piece
	return json.loads(line)["url"]
