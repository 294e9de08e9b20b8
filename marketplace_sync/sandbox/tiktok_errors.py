"""TikTok Shop's envelope and the codes that the sandbox answers with."""

from __future__ import annotations

from typing import Any

from .wire import Answer, Request

# Source of the numbers: the common-errors page and the error tables of the pages named beside the handlers.
# NOT_FOUND, METHOD and the use of BAD_PARAMS for a bad timestamp and bad parameters are the sandbox's reading: see README.md.
BAD_PARAMS = 36009004
BAD_AUTH_CODE = 36004004
BAD_REFRESH_TOKEN = 36004005
INTERNAL = 36009003
THROTTLED = 36009002
NOT_FOUND = 36009009
TOKEN_INVALID = 105001
TOKEN_EXPIRED = 105002
BAD_SIGN = 106001
NO_CIPHER = 106013
CIPHER_MISMATCH = 101000
PRODUCT_NOT_FOUND = 12052032
PRODUCT_NOT_YOURS = 12052048
PRODUCT_STATUS = 12052901
SELLER_INACTIVE = 12052700
COULD_NOT_UPDATE = 12052037
TOO_MANY_RESULTS = 12052180
SKU_NOT_OF_PRODUCT = 12052557
SKU_LOCKED = 12052393
CHECK_FAILED = 12052990
SEND_ALL_WAREHOUSES = 12019028
WAREHOUSE_NOT_EDITABLE = 12052382
WAREHOUSE_NOT_FOUND = 12052097
WAREHOUSE_NOT_OF_SKU = 12052530
WAREHOUSE_DISABLED = 12052531
QUANTITY_TOO_HIGH = 12019024
QUANTITY_INVALID = 12052055


class Refused(Exception):
	"""The whole call is refused: `code` and `message` of the envelope, and the HTTP status."""

	def __init__(self, code: int, message: str, status: int = 200):
		super().__init__(f"{code}: {message}")
		self.code = code
		self.message = message
		self.status = status


def success(request: Request, data: Any) -> Answer:
	return Answer({"code": 0, "message": "Success", "request_id": request.request_id, "data": data})


def refusal(request: Request, refused: Refused) -> Answer:
	return Answer(
		{"code": refused.code, "message": refused.message, "request_id": request.request_id, "data": {}},
		refused.status,
	)


def page_size(request: Request, most: int = 100) -> int:
	text = request.one("page_size")
	if not text.isdigit() or not 1 <= int(text) <= most:
		raise Refused(BAD_PARAMS, f"page_size must be between 1 and {most}")
	return int(text)


def page_start(request: Request) -> int:
	"""Where the page of an opaque page_token begins. Refused when the token is not one of ours."""
	token = request.one("page_token")
	if not token:
		return 0
	if not token.startswith("page-") or not token[5:].isdigit():
		raise Refused(BAD_PARAMS, "page_token is invalid")
	return int(token[5:])


def text_list(body: dict[str, Any], name: str, most: int) -> list[str]:
	"""A list of strings in a body, absent or up to `most`."""
	value = body.get(name)
	if value is None:
		return []
	if not isinstance(value, list) or len(value) > most or not all(isinstance(one, str) for one in value):
		raise Refused(BAD_PARAMS, f"{name} must be a list of at most {most} strings")
	return value


def time_in(body: dict[str, Any], name: str, default: int) -> int:
	value = body.get(name, default)
	if isinstance(value, bool) or not isinstance(value, int):
		raise Refused(BAD_PARAMS, f"{name} must be UNIX seconds")
	return value
