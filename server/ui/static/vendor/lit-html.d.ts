// What the explorer uses of lit-html.
export function html(strings: TemplateStringsArray, ...values: unknown[]): unknown
export function svg(strings: TemplateStringsArray, ...values: unknown[]): unknown
export const nothing: unique symbol
export function render(value: unknown, container: HTMLElement): unknown
