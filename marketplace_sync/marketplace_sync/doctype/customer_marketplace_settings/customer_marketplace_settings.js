frappe.ui.form.on("Customer Marketplace Settings", {
	setup(frm) {
		frm.set_query("warehouse", "warehouses", () => ({ filters: { company: frm.doc.company, disabled: 0 } }));
	},

	marketplace(frm) {
		if (frm.is_new()) frm.set_value("disable_on_mismatch", frm.doc.marketplace === "Tokopedia" ? 1 : 0);
	},

	refresh(frm) {
		if (frm.is_new()) {
			frm.set_df_property("disable_stock_update", "read_only", 1);
			return;
		}
		frm.set_df_property("disable_stock_update", "read_only", 0);
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

function show_state(frm) {
	const esc = frappe.utils.escape_html;
	frappe.xcall("marketplace_sync.api.store_status", { store: frm.doc.name }).then(([one]) => {
		if (!one || !frm.fields_dict.state_html) return;
		frappe.listview_settings[frm.doctype].stores[one.store] = one;
		frm.toolbar.set_indicator();
		const alarms = [];
		if (!one.connected)
			alarms.push(__("Not connected: enter the App ID and App Secret, save, then press Connect."));
		if (one.circuit_open) alarms.push(__("Stopped: {0}", [esc(one.circuit_reason)]));
		if (one.blocked_until) alarms.push(`${esc(one.blocked_reason)} (${marketplace_sync.time(one.blocked_until)})`);
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
