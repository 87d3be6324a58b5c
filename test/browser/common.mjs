// What the browser tests share: a Chromium, pages that note what goes wrong on
// them, and the rules for html-validate.
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { HtmlValidate } from "html-validate";

export const base = process.env.BASE;
export const group = "/g/local.general";
export const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
export const axeRules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

// open makes a page of a visitor of its own; page.trouble lists errors, and
// requests to anything but the node.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.trouble = [];
  page.on("console", (m) => m.type() === "error" && page.trouble.push(m.text()));
  page.on("pageerror", (e) => page.trouble.push(String(e)));
  page.on("request", (r) => r.url().startsWith(base) || r.url().startsWith("data:") || page.trouble.push("asks " + r.url()));
  return page;
}

export async function write(page, subject, body, more = {}) {
  await page.goto(base + group + "/post");
  if (more.name !== null) await page.fill("#name", more.name || "Ann Gast");
  await page.fill("#subject", subject);
  await page.fill("#body", body);
  if (more.files) await page.setInputFiles("#file", more.files);
  await page.click("form.write button.button");
  await page.waitForURL(/\/m\//).catch(async (e) => {
    throw new Error(`the post is not taken: ${await page.textContent("main")}`, { cause: e });
  });
  return page.url();
}

export async function login(page, next = "/", name = "ann") {
  await page.goto(base + "/login?next=" + next);
  await page.fill("#name", name);
  await page.fill("#password", "correct horse battery");
  await page.click("main button.button");
  await page.waitForURL(base + next);
}

export const validator = () =>
  new HtmlValidate({
    extends: ["html-validate:recommended"],
    rules: { "long-title": "off", "no-trailing-whitespace": "off", "tel-non-breaking": "off", "attribute-boolean-style": "off", "attribute-empty-style": "off", "void-style": "off", "doctype-style": "off", "valid-id": ["error", { relaxed: true }] },
  });

// findings are what axe-core and html-validate say of the page that is open.
export async function findings(page, path) {
  await page.addScriptTag({ content: axe });
  const found = await page.evaluate((runOnly) => window.axe.run({ runOnly }), axeRules);
  const out = found.violations.map((v) => [path, v.id, v.nodes.map((n) => n.html + " " + n.failureSummary).slice(0, 3)]);
  const res = await page.request.get(new URL(path, base).href);
  const report = await validator().validateString(await res.text());
  return out.concat(report.results.flatMap((r) => r.messages.map((m) => [path, m.line, m.ruleId, m.message, m.selector])));
}

// tight says what is wider than the page, and which targets are under 44 pixels.
export const tight = (page) =>
  page.evaluate(() => {
    const out = [];
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    if (wide > 0) out.push(`${wide} px too wide`);
    for (const e of document.querySelectorAll("button, .button, .tabs a, .post footer a, nav.me a, summary, label.check, input:not([type=hidden],[type=radio],[type=checkbox]), textarea"))
      if (e.offsetParent && !e.closest(".hp") && !e.closest(".body") && e.getBoundingClientRect().height < 43.5 && !e.classList.contains("new")) out.push(e.outerHTML.slice(0, 90) + " " + e.getBoundingClientRect().height);
    return out;
  });
