// What has to be there before anything is drawn: the theme that was chosen. A classic script, as a module would come too late.
{
	// The build of lit-html that people can read says on the console that it is that one.
	/** @type {any} */ (window).litIssuedWarnings = new Set(['dev-mode'])
	const chosen = localStorage.getItem('oolith.theme')
	if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen
}
