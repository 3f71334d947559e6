/** Returns an element of the page. @throws {Error} if it does not exist: script and page are of different versions */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id)
  if (!(element instanceof type)) throw new Error(`the page has no ${id}`)
  return element
}

/** Creates an element with a class and children. Strings become text, never markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...children)
  return element
}

/** Sets a text only if it changed, which preserves selections and does not trigger screen readers. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}
