frappe.query_reports["Item Summary"] = {
	filters: [
		{
			fieldname: "company",
			label: __("Company"),
			fieldtype: "Link",
			options: "Company",
			default: frappe.defaults.get_user_default("Company"),
			reqd: 1,
		},
		{ fieldname: "store", label: __("Store"), fieldtype: "Link", options: "Customer Marketplace Settings" },
		{ fieldname: "item", label: __("Item"), fieldtype: "Link", options: "Item" },
		{ fieldname: "item_group", label: __("Item Group"), fieldtype: "Link", options: "Item Group" },
		{
			fieldname: "warehouse",
			label: __("Warehouse"),
			fieldtype: "Link",
			options: "Warehouse",
			get_query: () => ({ filters: { company: frappe.query_report.get_filter_value("company") } }),
		},
		{
			fieldname: "state",
			label: __("State", null, "Item Summary"),
			fieldtype: "Select",
			options: [
				{ value: "", label: "" },
				{ value: "synced", label: __("Synced") },
				{ value: "pending", label: __("Pending") },
				{ value: "held", label: __("Held") },
				{ value: "rejected", label: __("Rejected") },
				{ value: "disabled", label: __("Disabled") },
			],
		},
		{ fieldname: "only_differences", label: __("Only Differences"), fieldtype: "Check" },
		{ fieldname: "include_unlisted", label: __("Include Unlisted Items"), fieldtype: "Check" },
	],

	get_datatable_options: (options) => Object.assign(options, { checkboxColumn: true }),

	formatter(value, row, column, data, default_formatter) {
		if (!data) return default_formatter(value, row, column, data);
		const state = column.fieldname.match(/^state_(\d+)$/);
		if (state && value) {
			const colours = { synced: "green", pending: "blue", held: "orange", rejected: "red", disabled: "gray" };
			const reason = frappe.utils.escape_html(data[`reason_${state[1]}`] || "");
			return `<span class="indicator-pill ${colours[data[`state_key_${state[1]}`]]}" title="${reason}">${frappe.utils.escape_html(
				value
			)}</span>`;
		}
		// Where nothing is known nothing is shown: an empty cell is not a zero.
		if (/^(sellable|acknowledged)_/.test(column.fieldname) && (value === null || value === undefined)) return "";
		if (data.is_grand_total && ["item", "warehouse"].includes(column.fieldname)) return "";
		let shown = default_formatter(value, row, column, data);
		if (["actual", "reserved", "held", "available"].includes(column.fieldname) && Number.isInteger(flt(value)))
			shown = `<div style="text-align: right">${format_number(value, null, 0)}</div>`;
		if (column.fieldname === "held" && flt(value) > 0 && data.item && frappe.model.can_read("Marketplace Order")) {
			const [item, warehouse] = [data.item, data.warehouse || ""].map((text) => frappe.utils.escape_html(text));
			shown = `<a class="marketplace-held" data-item="${item}" data-warehouse="${warehouse}">${shown}</a>`;
		}
		if (/^when_/.test(column.fieldname) && value) {
			// The column is narrow: without the seconds and this year, which a hover shows.
			const at = frappe.datetime.convert_to_user_tz(value, false);
			const day = frappe.datetime.get_user_date_fmt().toUpperCase();
			const short = at.isSame(moment(), "year") ? day.replace(/[^DM]?YYYY[^DM]?/, "") : day;
			const time = frappe.datetime.get_user_time_fmt().replace(":ss", "");
			shown = `<span title="${frappe.utils.escape_html(frappe.datetime.str_to_user(value))}">${at.format(`${short} ${time}`)}</span>`;
		}
		return data.is_total || data.is_grand_total ? `<b>${shown}</b>` : shown;
	},

	onload(report) {
		// Who holds it: the dialog is the forms' own, which comes with the doctype.
		report.page.main.on("click", "a.marketplace-held", (event) => {
			const { item, warehouse } = event.currentTarget.dataset;
			frappe.model.with_doctype("Marketplace Order", () => marketplace_sync.show_held(item, warehouse));
		});
		report.page.add_inner_button(__("Sync Now"), () => {
			const checked = report.datatable ? report.datatable.rowmanager.getCheckedRows() : [];
			const rows = checked.length ? checked.map((index) => report.data[index]) : report.data || [];
			const items = [...new Set(rows.filter((row) => row && row.item).map((row) => row.item))];
			if (!items.length) {
				frappe.msgprint(__("There is no item to synchronise: change the filters."));
				return;
			}
			const store = report.get_filter_value("store") || null;
			const start = () =>
				frappe.xcall("marketplace_sync.api.sync_now", { items, store }).then((answer) => {
					frappe.show_alert({
						message: __("{0} items are compared with the marketplaces now.", [items.length]),
						indicator: "green",
					});
					if (answer.disabled.length) {
						frappe.show_alert({
							message: __("Not sent, for Disable Stock Update is ticked: {0}", [
								frappe.utils.escape_html(answer.disabled.map((one) => one.title).join(", ")),
							]),
							indicator: "orange",
						});
					}
				});
			if (checked.length) start();
			else frappe.confirm(__("Synchronise all {0} items that are shown?", [items.length]), start);
		});
	},
};
