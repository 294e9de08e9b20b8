"""Shopee's envelope and how a call is refused in it."""

from __future__ import annotations

from typing import Any

from .wire import Answer, Request


class Refused(Exception):
	"""The whole call is refused. `status`: 403 from the gateway, 200 for business errors; `common`: never prefixed."""

	def __init__(self, error: str, message: str, status: int = 200, response: Any = None):
		super().__init__(f"{error}: {message}")
		self.error = error
		self.message = message
		self.status = status
		self.response = response
		self.common = status != 200


def envelope(request: Request, error: str = "", message: str = "", response: Any = None) -> dict[str, Any]:
	answer: dict[str, Any] = {
		"error": error,
		"message": message,
		"warning": "",
		"request_id": request.request_id,
	}
	if response is not None:
		answer["response"] = response
	return answer


def refusal(request: Request, refused: Refused) -> Answer:
	return Answer(envelope(request, refused.error, refused.message, refused.response), refused.status)


def whole_number(value: Any, name: str, least: int = 0, most: int | None = None) -> int:
	"""A number out of a query. Refused with error_param when it isn't one, or lies outside."""
	text = str(value)
	if not text.lstrip("-").isdigit():
		raise Refused("error_param", f"{name} must be a whole number.")
	number = int(text)
	if number < least or (most is not None and number > most):
		raise Refused(
			"error_param", f"{name} must be between {least} and {most if most is not None else 'any'}."
		)
	return number


def id_list(request: Request, name: str, most: int = 50) -> list[str]:
	"""A comma-separated list of ids, 1 to `most` (Shopee: item_id_list, order_sn_list)."""
	ids = [one.strip() for one in request.one(name).split(",") if one.strip()]
	if len(request.every(name)) > 1:
		raise Refused("error_param", f"{name} is one comma-separated value, not a repeated one.")
	if not 1 <= len(ids) <= most:
		raise Refused("error_param", f"{name} must hold 1 to {most} ids.")
	return ids
