// The theme that was chosen, before anything is drawn. A classic script: a module would come too late.
{
	const chosen = localStorage.getItem('oolith.theme')
	if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset.theme = chosen
}
