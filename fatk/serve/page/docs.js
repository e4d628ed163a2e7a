// Draws /openapi.json.

import { themeButton } from "./theme.js";

const $ = (id) => document.getElementById(id);

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// `scrolls`: what the reader of a screen is told about a box that the keyboard can scroll.
function code(text, scrolls, kind = "") {
  return element("pre", text, { class: kind, tabindex: "0", role: "region", "aria-label": scrolls });
}

function table(title, columns, rows) {
  const made = element("table");
  const head = element("tr");
  head.append(...columns.map((column) => element("th", column, { scope: "col" })));
  made.append(element("thead"), element("tbody"));
  made.tHead.append(head);
  made.tBodies[0].append(
    ...rows.map(([first, ...rest]) => {
      const row = element("tr");
      const name = element("th", "", { scope: "row" });
      name.append(element("code", first));
      row.append(name, ...rest.map((cell) => element("td", cell)));
      return row;
    }),
  );
  const frame = element("div", "", { class: "frame", tabindex: "0", role: "region", "aria-label": title });
  frame.append(made);
  return frame;
}

function resolved(schema, all) {
  return schema?.$ref ? all[schema.$ref.split("/").at(-1)] : schema;
}

function typed(schema, all) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) {
    return schema.anyOf.filter((one) => one.type !== "null").map((one) => typed(one, all)).join(" or ");
  }
  if (schema.type === "array") return `list of ${schema.items ? typed(schema.items, all) || "values" : "values"}`;
  return schema.type ?? "";
}

// The fields of a schema, and of those within it: [[path, type, words], ...].
function fields(schema, all, before = "") {
  return Object.entries(resolved(schema, all)?.properties ?? {}).flatMap(([name, field]) => {
    const path = before + name;
    const inner = [field, field.items, ...(field.anyOf ?? []), ...(field.anyOf ?? []).map((one) => one.items)];
    const below = inner.find((one) => one?.$ref);
    const list = field.type === "array" || field.anyOf?.some((one) => one.type === "array");
    const row = [path, typed(field, all), field.description ?? ""];
    return [row, ...(below ? fields(below, all, `${path}${list ? "[]" : ""}.`) : [])];
  });
}

function titled(title, ...content) {
  const made = element("section");
  made.append(element("h3", title), ...content);
  return made;
}

function curl(method, path, route) {
  const url = `${location.origin}${path}`;
  const body = route.requestBody?.content;
  if (!body) return method === "GET" ? `curl ${url}` : `curl -X ${method} ${url}`;
  if (!body["application/json"]) {
    const needs = (route.parameters ?? []).filter((one) => one.required).map((one) => `${one.name}=...`);
    const query = needs.length ? `?${needs.join("&")}` : "";
    return `curl --data-binary @sound.flac '${url}${query}'\ncurl -F file=@sound.flac '${url}${query}'`;
  }
  const examples = Object.values(body["application/json"].examples ?? {});
  return examples.map((one) => `curl -d '${JSON.stringify(one.value)}' ${url}`).join("\n");
}

function tryButton(path) {
  const place = element("div");
  const button = element("button", "Send it", { type: "button", class: "quiet" });
  button.addEventListener("click", async () => {
    const response = await fetch(path).catch((error) => error);
    const text = response instanceof Error ? response.message : await response.text();
    const json = response.headers?.get("content-type")?.includes("json");
    const shown = json ? JSON.stringify(JSON.parse(text), null, 1) : text;
    place.replaceChildren(code(`${response.status ?? ""}\n${shown}`, "The answer", "answer"));
  });
  const made = element("div");
  made.append(button, place);
  return made;
}

function drawn(method, path, route, all) {
  const made = element("details", "", { class: "route" });
  const summary = element("summary");
  summary.append(element("span", method, { class: "method" }), element("code", path));
  const content = element("div");
  content.append(element("p", route.description ?? route.summary ?? ""));
  const parameters = (route.parameters ?? []).map(({ name, schema, required, description }) => [
    name,
    typed(schema, all),
    required ? "needed" : String(schema.default ?? ""),
    description ?? "",
  ]);
  if (parameters.length) {
    content.append(titled("Query", table("Query", ["name", "type", "default", ""], parameters)));
  }
  content.append(titled("By curl", code(curl(method, path, route), "Commands")));
  const answer = route.responses?.["200"]?.content?.["application/json"]?.schema;
  const rows = answer ? fields(answer, all) : [];
  if (rows.length) content.append(titled("Answer", table("Answer", ["field", "type", ""], rows)));
  const errors = Object.keys(route.responses ?? {}).filter((status) => status >= 400 && status !== "422");
  if (errors.length) content.append(titled("Errors", element("p", `${errors.join(", ")}, each as {"error": "..."}`)));
  if (method === "GET") content.append(titled("Try", tryButton(path)));
  made.append(summary, content);
  return made;
}

themeButton($("theme"));
try {
  const api = await (await fetch("/openapi.json")).json();
  $("words").textContent = api.info.description;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      const group = route.tags?.[0] ?? "other";
      const found = drawn(method.toUpperCase(), path, route, api.components?.schemas ?? {});
      groups.set(group, [...(groups.get(group) ?? []), found]);
    }
  }
  for (const [group, routes] of groups) $("routes").append(element("h2", group), ...routes);
} catch (error) {
  $("problem").textContent = `The description could not be read: ${error.message}`;
}
