"""Every kind of fault does what README.md says, and says truly whether the write was applied."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest
from dialect_clients import Flat

from marketplace_sync.sandbox.faults import KINDS, PUSH_KINDS

NO_ANSWER = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
TESTED: set[str] = set()


@pytest.fixture
def fault(control):
	def add(kind, **given):
		TESTED.add(kind)
		return control.add_fault(kind, **given)

	return add


def wait_for(condition, seconds=2.0):
	deadline = time.monotonic() + seconds
	while not condition():
		assert time.monotonic() < deadline, "did not happen in time"
		time.sleep(0.005)


def elapsed(work):
	start = time.monotonic()
	result = work()
	return result, time.monotonic() - start


def test_latency(flat, fault):
	fault("latency", seconds=0.1, jitter=0.05, count=1)
	reply, seconds = elapsed(lambda: flat.write(("A", 1)))
	assert reply.status == 200
	assert 0.1 <= seconds < 1.0
	assert elapsed(lambda: flat.write(("A", 2)))[1] < 0.1


def test_latency_after_the_work(flat, fault, control):
	fault("latency", seconds=0.3, after=True, count=1)
	thread = threading.Thread(target=flat.write, args=(("A", 1),))
	thread.start()
	wait_for(lambda: control.stock("f")["A"] == 1, 0.25)
	assert thread.is_alive()
	thread.join()


def test_no_answer_is_not_applied(flat, fault, control):
	fault("no_answer", seconds=0.1, count=1)

	def attempt():
		with pytest.raises(NO_ANSWER):
			flat.write(("A", 1))

	assert elapsed(attempt)[1] >= 0.1
	assert control.stock("f")["A"] == 5


def test_answer_lost_is_applied(flat, fault, control):
	fault("answer_lost", count=1)
	with pytest.raises(NO_ANSWER):
		flat.write(("A", 1))
	assert control.stock("f")["A"] == 1
	assert flat.write(("A", 2)).status == 200


def test_applied_late(flat, fault, control):
	fault("applied_late", seconds=0.15, count=1)
	start = time.monotonic()
	with pytest.raises(NO_ANSWER):
		flat.write(("A", 1))
	assert time.monotonic() - start < 0.15
	assert control.stock("f")["A"] == 5
	wait_for(lambda: control.stock("f")["A"] == 1)
	assert time.monotonic() - start >= 0.15


def test_applied_late_checks_the_signature_at_arrival(shopee, fault, control):
	fault("applied_late", seconds=0.05, count=1)
	with pytest.raises(NO_ANSWER):
		shopee.update(1000, {11: 8})
	shopee.refresh(shopee.shop["refresh_token"])  # the old access token is gone, the accepted call is not
	wait_for(lambda: control.stock("100001")["A"] == 8)


@pytest.mark.parametrize(("kind", "stock"), [("error_before", 5), ("error_after", 1)])
def test_server_errors(flat, fault, control, kind, stock):
	fault(kind, status=503, count=1)
	assert flat.write(("A", 1)).status == 503
	assert control.stock("f")["A"] == stock


def test_internal_error_in_http_200(flat, shopee, tiktok, fault, control):
	fault("internal_error")
	assert shopee.update(1000, {11: 1}).json["error"] == "error_inner"
	assert tiktok.update("P", {"S1": 1})["code"] == 36009003
	reply = flat.write(("A", 1))
	assert (reply.status, reply.json["error"]) == (200, "internal")
	assert [control.stock(shop)["A"] for shop in ("100001", "700001", "f")] == [1, 1, 1]
	control.clear_faults()
	fault("internal_error", applied=False)
	flat.write(("A", 2))
	assert control.stock("f")["A"] == 1


def test_throttle_with_retry_after(flat, shopee, tiktok, fault, control):
	fault("throttle", retry_after=7, count=3)
	reply = shopee.update(1000, {11: 1})
	assert (reply.json["error"], reply.headers["retry-after"]) == ("error_rate_limit", "7")
	reply = tiktok.call("GET", "/logistics/202309/warehouses")
	assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (429, 36009002, "7")
	reply = flat.write(("A", 1))
	assert (reply.status, reply.headers["retry-after"]) == (429, "7")
	assert control.stock("f")["A"] == 5
	fault("throttle", count=1)
	assert "retry-after" not in flat.write(("A", 1)).headers


def test_quota(flat, shopee, fault):
	fault("quota", shop="100001", calls=2)
	errors = [shopee.get("shop/get_shop_info")["error"] for _ in range(4)]
	assert errors == ["", "", "error_limit", "error_limit"]
	assert flat.write(("A", 1)).status == 200


def test_outage_ends(flat, fault, control):
	fault("outage", seconds=0.15)
	assert flat.write(("A", 1)).status == 503
	assert control.stock("f")["A"] == 5
	wait_for(lambda: flat.write(("A", 1)).status == 200)


def test_outage_as_refused_connections(flat, fault, control):
	fault("outage", seconds=30, mode="refused")
	with pytest.raises(ConnectionResetError) as caught:
		flat.write(("A", 1))
	assert caught.type is ConnectionResetError
	assert control.stock("f")["A"] == 5


def test_unknown_code(flat, shopee, tiktok, fault, control):
	fault("unknown_code")
	assert shopee.update(1000, {11: 1}).json["error"] == "error_sandbox_never_heard_of"
	assert tiktok.update("P", {"S1": 1})["code"] == 99999001
	assert flat.write(("A", 1)).json["error"] == "never_heard_of"
	assert control.stock("f")["A"] == 5


def test_html(flat, fault, control):
	fault("html", count=1)
	reply = flat.write(("A", 1))
	assert reply.status == 200
	assert reply.body.startswith(b"<html>")
	assert control.stock("f")["A"] == 5
	fault("html", applied=True, count=1)
	assert flat.write(("A", 2)).body.startswith(b"<html>")
	assert control.stock("f")["A"] == 2


def test_empty(flat, fault, control):
	fault("empty", count=1)
	assert flat.write(("A", 1)).body == b""
	assert control.stock("f")["A"] == 1


def test_truncated_json(flat, fault, control):
	fault("truncated_json", count=1)
	reply = flat.write(("A", 1))
	assert len(reply.body) == int(reply.headers["content-length"]) > 0
	with pytest.raises(json.JSONDecodeError):
		_ = reply.json
	assert control.stock("f")["A"] == 1


def test_wrong_types(shopee, fault, control):
	fault("wrong_types", count=1)
	assert isinstance(shopee.update(1000, {11: 1}).json, list)
	assert control.stock("100001")["A"] == 1
	fault("wrong_types", mode="strings", count=1)
	rows = shopee.update(1000, {11: 2}).json["response"]["success_list"]
	assert (rows[0]["model_id"], rows[0]["stock"]) == ("11", "2")
	fault("wrong_types", mode="nulls", count=1)
	assert shopee.update(1000, {11: 3}).json["response"] == {"failure_list": None, "success_list": None}


def test_huge_body(flat, fault, control):
	fault("huge_body", count=1)
	reply = flat.write(("A", 1))
	assert len(reply.body) > 20 * 1024 * 1024
	assert reply.json["results"][0]["ok"] is True
	assert control.stock("f")["A"] == 1


def test_wrong_content_length(flat, fault, control):
	fault("wrong_content_length", count=1)
	with pytest.raises(http.client.IncompleteRead):
		flat.write(("A", 1))
	assert control.stock("f")["A"] == 1


def test_reset_peer(flat, fault, control):
	fault("reset_peer", count=1)
	with pytest.raises(ConnectionResetError) as caught:
		flat.write(("A", 1))
	assert caught.type is ConnectionResetError  # RemoteDisconnected, an ordinary close, is a subclass
	assert control.stock("f")["A"] == 1


def test_slow_drip(flat, fault, control):
	fault("slow_drip", seconds=0.2, count=1)
	reply, seconds = elapsed(lambda: flat.write(("A", 1)))
	assert seconds >= 0.2
	assert reply.json["results"][0]["ok"] is True
	# No single read waits long, so that a client needs a limit on the whole call.
	patient = Flat(control.url, control.shop("f"), timeout=0.1)
	fault("slow_drip", seconds=0.2, count=1)
	assert elapsed(lambda: patient.write(("A", 2)))[1] >= 0.2


def test_partial_failure(flat, shopee, tiktok, fault, control):
	fault("partial_failure", skus=["B"], code="odd")
	answer = shopee.update(1000, {11: 1, 12: 1}).json
	assert answer["response"]["failure_list"] == [{"model_id": 12, "failed_reason": "Update stock failed."}]
	assert shopee.update(1000, {12: 1}).json["error"] == "error_busi_update_stock_failed"
	errors = tiktok.update("P", {"S1": 1, "S2": 1})["data"]["errors"]
	assert [(one["code"], one["detail"]["sku_id"]) for one in errors] == [(12052037, "S2")]
	results = flat.write(("A", 1), ("B", 1)).json["results"]
	assert [(row["ok"], row["code"]) for row in results] == [(True, ""), (False, "odd")]
	for shop in ("100001", "700001", "f"):
		assert control.stock(shop) == {"A": 1, "B": 3, "C": 9}


def test_batch_refused(flat, shopee, tiktok, fault, control):
	fault("batch_refused", skus=["B"])
	assert shopee.update(1000, {11: 1, 12: 1}).json["error"] == "error_param"
	assert tiktok.update("P", {"S1": 1, "S2": 1})["code"] == 36009004
	assert flat.write(("A", 1), ("B", 1)).status == 400
	for shop in ("100001", "700001", "f"):
		assert control.stock(shop) == {"A": 5, "B": 3, "C": 9}
	assert flat.write(("A", 1), ("C", 1)).status == 200


def test_missing_rows(flat, shopee, tiktok, fault, control):
	fault("missing_rows", skus=["B"])
	assert [row["sku"] for row in flat.write(("A", 1), ("B", 1)).json["results"]] == ["A"]
	assert control.stock("f")["B"] == 1  # applied, only not listed
	assert [row["sku"] for row in flat.get("stock?skus=A,B").json["stock"]] == ["A"]
	response = shopee.update(1000, {11: 1, 12: 1}).json["response"]
	assert [row["model_id"] for row in response["success_list"]] == [11]
	assert [
		m["model_id"] for m in shopee.get("product/get_model_list", item_id=1000)["response"]["model"]
	] == [11]
	found = tiktok.call("POST", "/product/202309/inventory/search", body={"product_ids": ["P"]}).json["data"]
	assert [sku["id"] for sku in found["inventory"][0]["skus"]] == ["S1"]
	control.clear_faults()
	fault("missing_rows")
	assert [row["sku"] for row in flat.write(("A", 1), ("B", 1), ("C", 1)).json["results"]] == ["A", "C"]


def test_expire_tokens(shopee, fault):
	fault("expire_tokens", shop="100001", count=1)
	assert shopee.get("shop/get_shop_info")["error"] == "invalid_acceess_token"
	shopee.shop = shopee.shop | shopee.refresh(shopee.shop["refresh_token"]).json
	assert shopee.get("shop/get_shop_info")["error"] == ""


def test_clock_skew(shopee, tiktok, fault, control):
	fault("clock_skew", seconds=400)
	assert shopee.get("shop/get_shop_info")["message"] == "Timestamp is expired."
	assert tiktok.call("GET", "/logistics/202309/warehouses").json["code"] == 36009004
	shopee.skew = 400  # a client that corrects for it
	assert shopee.get("shop/get_shop_info")["error"] == ""


def test_which_requests_a_fault_meets(flat, shopee, fault, control):
	fault_id = fault("error_before", shop="f", path_contains="/stock", skip=1, count=2)
	assert shopee.get("shop/get_shop_info")["error"] == ""
	assert flat.get("listings").status == 200
	assert [flat.write(("A", n)).status for n in range(5)] == [200, 502, 502, 200, 200]
	assert control.faults()[0]["fired"] == 2
	control.clear_faults(fault_id)
	assert control.faults() == []


def test_a_fault_for_some_skus(flat, fault):
	fault("error_before", skus=["B"], count=1)
	assert [flat.write((sku, 1)).status for sku in ("A", "B", "B")] == [200, 502, 200]


def test_probability_is_seeded(flat, fault, control):
	def pattern(seed):
		control.clear_faults()
		fault("error_before", probability=0.5, seed=seed)
		return [flat.write(("A", n)).status for n in range(30)]

	first = pattern(1)
	assert first == pattern(1)
	assert first != pattern(2)
	assert {200, 502} == set(first)


def test_modifiers_and_an_ending_together(flat, fault, control):
	fault("latency", seconds=0.05)
	fault("error_after", count=1)
	fault("html", count=1)
	reply, seconds = elapsed(lambda: flat.write(("A", 1)))
	assert reply.status == 502  # the first ending wins, the second is not spent
	assert seconds >= 0.05
	assert flat.write(("A", 2)).body.startswith(b"<html>")


@pytest.mark.parametrize(
	"given",
	[
		{"kind": "nonsense"},
		{"kind": "html", "colour": "red"},
		{"kind": "partial_failure"},
		{"kind": "outage"},
		{"kind": "latency", "applied": True},
	],
)
def test_impossible_faults(control, given):
	with pytest.raises(Exception, match=r"kind must|knows no|needs"):
		control.add_fault(**given)


def test_every_kind_has_a_test():
	"""Runs last in this file; meaningless when the tests are run one by one."""
	if len(TESTED) > 15:
		# Faults of pushes are tested with the pushes.
		assert set(KINDS) - set(PUSH_KINDS) == TESTED
