// Entry of the page: starts the worker and the app. The address may name another model and preset the form:
// ?model=URL&engine=onnx&prompt=…&frames=17&width=128&height=128&seed=7&variant=base&steps=30&guidance=4&negative=…&format=webm&fps=16
// &exchange=f32: how workers send each other keys and values.
import { startApp } from "./app.ts";
import { byId } from "./dom.ts";
import { startHelperPage } from "./helper_page.ts";
import { PageCrew } from "./page_crew.ts";
import { RenderHost } from "./render_host.ts";
import { createScriptedWeft } from "./scripted.ts";
import { hostOfHash } from "./tab_identity.ts";
import { setUpTheme } from "./theme.ts";

const DEFAULT_MODEL = "models/weft-nano";

const query = new URLSearchParams(location.search);
const engine = query.get("engine") ?? undefined;
const host = new RenderHost(engine);
const weft = createScriptedWeft(host, (onChange) => PageCrew.open({ host, engine, onChange }));
Object.assign(globalThis, { weft });

setUpTheme(byId("theme", HTMLButtonElement));
const helped = hostOfHash(location.hash);
if (location.hash === "#scripted") {
  document.body.hidden = true;
} else if (helped) {
  await startHelperPage({ ...helped, engine });
} else {
  const modelUrl = new URL(query.get("model") ?? DEFAULT_MODEL, document.baseURI).href;
  await startApp({ host, modelUrl, query });
}
