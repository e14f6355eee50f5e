// Elements are made from texts, never from HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function show(element, text) {
  element.hidden = !text;
  element.textContent = text || "";
}

export function percent(share) {
  if (share > 0 && share < 0.005) return "<1%";
  return `${Math.round(100 * share)}%`;
}

export const number = (count) => count.toLocaleString("en-US");

export const texts = (count) => `${number(count)} ${count === 1 ? "text" : "texts"}`;

export function bar(share) {
  const inside = make("span");
  inside.style.width = `${100 * share}%`;
  return make("div", { class: "bar", "aria-hidden": "true" }, inside);
}
