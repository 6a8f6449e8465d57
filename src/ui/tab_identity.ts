// The name of a tab among the tabs of this origin, and what its helpers are invited with. Both outlive a reload, so that
// helpers find back; a tab that was duplicated gets new ones.
import { tabLock, takeLock } from "../parallel/web_lock.ts";

/** Who this tab is. */
export interface TabIdentity {
  /** Public. */
  readonly tab: string;
  /** For those whom this tab opens. */
  readonly invitation: string;
}

const KEY = "weft-tab";

/** Takes the identity of this tab, with the Web Lock that says that it is here. */
export async function takeIdentity(): Promise<TabIdentity> {
  const kept = readKept();
  if (kept !== undefined && (await takeLock(tabLock(kept.tab))) !== undefined) return kept;
  const fresh = { tab: crypto.randomUUID(), invitation: crypto.randomUUID() };
  await takeLock(tabLock(fresh.tab));
  sessionStorage.setItem(KEY, `${fresh.tab}.${fresh.invitation}`);
  return fresh;
}

/** The hash of an address that makes a page help this tab. */
export function invitationHash({ tab, invitation }: TabIdentity): string {
  return `#help=${tab}.${invitation}`;
}

/** The tab that an address asks to help, with its invitation when it has one; undefined for other addresses. */
export function hostOfHash(hash: string): { tab: string; invitation: string | undefined } | undefined {
  const [, tab, invitation] = /^#help=([\w-]+)(?:\.([\w-]+))?$/.exec(hash) ?? [];
  return tab === undefined ? undefined : { tab, invitation };
}

function readKept(): TabIdentity | undefined {
  const [tab, invitation] = sessionStorage.getItem(KEY)?.split(".") ?? [];
  return tab && invitation ? { tab, invitation } : undefined;
}
