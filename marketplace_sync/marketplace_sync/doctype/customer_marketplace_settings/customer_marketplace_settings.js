frappe.ui.form.on("Customer Marketplace Settings", {
	setup(frm) {
		frappe.meta.get_docfield("Marketplace Order Rule", "status").formatter = marketplace_sync.order_status;
		const of_company = { is_group: 0, disabled: 0 };
		frm.set_query("warehouse", "warehouses", () => ({ filters: { company: frm.doc.company, disabled: 0 } }));
		frm.set_query("account", "accounts", () => ({
			filters: { ...of_company, company: frm.doc.company, account_type: ["not in", ["Receivable", "Payable"]] },
		}));
		frm.set_query("cost_center", () => ({ filters: { ...of_company, company: frm.doc.company } }));
	},

	onload(frm) {
		if (frm.is_new() && !(frm.doc.order_rules || []).length) fill_preset(frm);
	},

	order_preset(frm) {
		if (frm.doc.order_preset !== OWN_TABLE) fill_preset(frm);
	},

	marketplace(frm) {
		if (frm.is_new()) frm.set_value("disable_on_mismatch", frm.doc.marketplace === "Tokopedia" ? 1 : 0);
	},

	refresh(frm) {
		// Frappe adds the time zone, and then looks for a translation of both together.
		const { description } = frappe.meta.get_docfield(frm.doctype, "orders_from");
		frm.set_df_property("orders_from", "description", __(description.split("<br>")[0]));
		if (frm.is_new()) {
			frm.set_df_property("disable_stock_update", "read_only", 1);
			return;
		}
		frm.set_df_property("disable_stock_update", "read_only", 0);
		frm.fields_dict.webhook_html.$wrapper.empty();
		show_import(frm);
		const store = frm.doc.name;
		const may_write = frm.perm[0] && frm.perm[0].write;
		if (may_write) {
			frm.add_custom_button(__("Connect"), () =>
				frappe
					.xcall("marketplace_sync.api.connect", { store })
					.then((url) => window.open(url, "_blank", "noopener"))
			);
			frm.add_custom_button(
				__("Refresh Listings"),
				() =>
					frappe
						.xcall("marketplace_sync.api.refresh_catalogue", { store })
						.then(() => frappe.show_alert(__("The listings are being read."))),
				__("Marketplace")
			);
			frm.add_custom_button(
				__("Read Back"),
				() =>
					frappe
						.xcall("marketplace_sync.api.audit", { store })
						.then(() => frappe.show_alert(__("The marketplace's numbers are being read back."))),
				__("Marketplace")
			);
			frm.add_custom_button(__("Locations"), () => show_locations(store), __("Marketplace"));
		}
		if (cint(frm.doc.import_orders)) {
			frm.add_custom_button(
				__("Import Orders Now"),
				() =>
					frappe.xcall("marketplace_sync.api.import_orders", { store }).then(() => {
						frappe.show_alert(__("The store's orders are being read."));
						setTimeout(() => cur_frm === frm && show_import(frm), 5000);
					}),
				__("Marketplace")
			);
		}
		frm.add_custom_button(__("Orders"), () => frappe.set_route("List", "Marketplace Order", { store }), __("View"));
		frm.add_custom_button(__("Dry Run"), () => marketplace_sync.dry_run(frm));
		frm.add_custom_button(__("Sync Now"), () => marketplace_sync.sync_now({ store }));
		frm.add_custom_button(__("Listings"), () => frappe.set_route("List", "Marketplace Listing", { store }), __("View"));
		frm.add_custom_button(__("Sync Log"), () => frappe.set_route("List", "Marketplace Sync Log", { store }), __("View"));
		frm.add_custom_button(
			__("Item Summary"),
			() => frappe.set_route("query-report", "Item Summary", { store, company: frm.doc.company }),
			__("View")
		);
		show_state(frm);
	},
});

// -- orders ------------------------------------------------------------------------------------------------------
const OWN_TABLE = "Own table";

frappe.ui.form.on("Marketplace Order Rule", {
	status: own_table,
	action: own_table,
	draft: own_table,
	// Of the child table: Frappe looks for them here.
	order_rules_add: own_table,
	order_rules_remove: own_table,
});

function own_table(frm) {
	// Not set_value: choosing a preset fills the table, and this is no choice.
	frm.doc.order_preset = OWN_TABLE;
	frm.refresh_field("order_preset");
	frm.dirty();
}

function fill_preset(frm) {
	frappe.xcall("marketplace_sync.api.preset_rows", { preset: frm.doc.order_preset || "Reserve early" }).then((rows) => {
		frm.clear_table("order_rules");
		for (const row of rows) frm.add_child("order_rules", row);
		frm.refresh_field("order_rules");
	});
}

function show_import(frm) {
	const esc = frappe.utils.escape_html;
	frappe.xcall("marketplace_sync.api.import_status", { store: frm.doc.name }).then((told) => {
		const wrapper = frm.fields_dict.webhook_html.$wrapper;
		const alarms = [];
		if (!cint(frm.doc.import_orders))
			alarms.push(__("Import Orders is not ticked: no order comes into ERPNext, and stock is sent without looking at orders."));
		else if (told.orders_error)
			alarms.push(
				__("Orders could not be read since {0}: {1}", [
					marketplace_sync.time(told.orders_error_at),
					esc(told.orders_error),
				])
			);
		if (told.settlements_error)
			alarms.push(
				__("Payouts could not be fetched since {0}: {1}", [
					marketplace_sync.time(told.settlements_error_at),
					esc(told.settlements_error),
				])
			);
		const cards = [
			["Needs Attention", __("Needing Attention"), "btn-warning"],
			["Waiting", __("Waiting"), "btn-default"],
			["Up to Date", __("Up to Date"), "btn-default"],
		]
			.map(([state, label, kind]) => {
				const count = cint(told.states[state]);
				return `<a class="btn ${count ? kind : "btn-default"} btn-sm mr-2 mb-2" data-state="${state}">${label} <b>${count}</b></a>`;
			})
			.join("");
		const facts = [
			`${__("Orders read")}: ${marketplace_sync.time(Math.max(flt(told.orders_polled_at), flt(told.orders_looked_at)))}`,
		];
		if (told.to_fetch) facts.push(__("{0} pushed orders are being fetched", [cint(told.to_fetch)]));
		const push = told.webhook;
		const counters = Object.entries(push.counters)
			.map(([what, count]) => `${esc(__(what))} <b>${cint(count)}</b>`)
			.join(" · ");
		const address = push.address
			? `<label class="control-label">${__("Address for the Marketplace's Pushes (Webhook)")}</label>
				<div class="input-group input-group-sm mb-1"><input type="text" class="form-control" readonly value="${esc(push.address)}">
				<div class="input-group-append"><button class="btn btn-default btn-copy">${__("Copy")}</button></div></div>
				<p class="text-muted small">${__(
					"Enter it in the marketplace's developer console. Without it orders are read every minute."
				)}${counters ? `<br>${__("Pushes")}: ${counters}` : ""}</p>`
			: "";
		wrapper.html(
			alarms.map((text) => `<div class="alert alert-warning py-2">${text}</div>`).join("") +
				`<div>${cards}</div><p class="text-muted small">${facts.join(" · ")}</p>${address}`
		);
		wrapper.find("a[data-state]").on("click", function () {
			frappe.set_route("List", "Marketplace Order", { store: frm.doc.name, state: $(this).data("state") });
		});
		wrapper.find(".btn-copy").on("click", () => frappe.utils.copy_to_clipboard(push.address));
	});
}

function show_state(frm) {
	const esc = frappe.utils.escape_html;
	frappe.xcall("marketplace_sync.api.store_status", { store: frm.doc.name }).then(([one]) => {
		if (!one || !frm.fields_dict.state_html) return;
		frappe.listview_settings[frm.doctype].stores[one.store] = one;
		frm.toolbar.set_indicator();
		const alarms = [];
		if (!one.connected)
			alarms.push(
				frm.doc.app_id && frm.doc.app_secret
					? __("Not connected: press Connect.")
					: __("Not connected: enter the App ID and App Secret, save, then press Connect.")
			);
		if (one.circuit_open) alarms.push(__("Stopped: {0}", [esc(one.circuit_reason)]));
		if (one.blocked_until) alarms.push(`${esc(one.blocked_reason)} (${marketplace_sync.time(one.blocked_until)})`);
		if (one.orders_error)
			alarms.push(
				__("Orders could not be read since {0}: {1}", [
					marketplace_sync.time(one.orders_error_at),
					esc(one.orders_error),
				])
			);
		if (one.catalogue_error) alarms.push(__("Listings could not be read: {0}", [esc(one.catalogue_error)]));
		if (one.disabled)
			alarms.push(__("Disable Stock Update is ticked: nothing is sent. Look at a Dry Run, then untick."));
		const counts = [
			[__("Listings"), one.listings, {}],
			[__("Unmapped"), one.unmapped, { item: ["is", "not set"] }],
			[__("Synced"), one.synced, null],
			[__("Pending"), one.pending, null],
			[__("Disabled"), one.disabled_items, { hold: "Disabled" }],
			...Object.entries(one.held).map(([code, count]) => [marketplace_sync.reason(code), count, { reason_code: code }]),
		];
		const cards = counts
			.map(
				([label, count], index) =>
					`<a class="btn btn-default btn-sm mr-2 mb-2" data-index="${index}">${label} <b>${cint(count)}</b></a>`
			)
			.join("");
		const rate = flt(one.calls_per_second, 1);
		const facts = `<p class="text-muted small">${__("Listings read")}: ${marketplace_sync.time(one.catalogue_at)} ·
			${__("at most {0} calls a second", [rate])}${
			one.oldest_pending > 60
				? ` · ${__("oldest waiting change: {0} minutes", [Math.round(one.oldest_pending / 60)])}`
				: ""
		}</p>`;
		const wrapper = frm.fields_dict.state_html.$wrapper;
		wrapper.html(
			alarms.map((text) => `<div class="alert alert-warning py-2">${text}</div>`).join("") + cards + facts
		);
		wrapper.find("a[data-index]").on("click", function () {
			const filters = counts[cint($(this).data("index"))][2];
			frappe.set_route("List", "Marketplace Listing", { store: frm.doc.name, ...(filters || {}) });
		});
	});
}

function show_locations(store) {
	const esc = frappe.utils.escape_html;
	frappe.xcall("marketplace_sync.api.locations", { store }).then((places) =>
		frappe.msgprint({
			title: __("The marketplace's own warehouses"),
			message: places.length
				? marketplace_sync.table(
						[__("Marketplace Location"), __("Name"), __("Stock can be set")],
						places.map((place) => [
							`<code>${esc(place.location_id)}</code>`,
							esc(place.name),
							place.sells ? __("Yes") : __("No"),
						])
				  )
				: __("This shop has only one: leave Marketplace Location empty."),
		})
	);
}
