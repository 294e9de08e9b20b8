"""A sandbox for the marketplaces: see README.md in this folder.

It judges the connectors, so it shares no code with them: nothing here imports from the rest of the app.
"""

from .client import ControlClient, ControlError, StockRow
from .process import SandboxProcess, start_process
from .server import Cut, Sandbox, SandboxServer

__all__ = [
	"ControlClient",
	"ControlError",
	"Cut",
	"Sandbox",
	"SandboxProcess",
	"SandboxServer",
	"StockRow",
	"start_process",
]
