package server

import (
	"net/http"
	"time"
)

type noStreams struct{}

func newStreams(*Server) streams { return noStreams{} }

func (noStreams) refuse(w http.ResponseWriter, c caller) {
	defer c.Ended()
	http.Error(w, "streams are not there yet", http.StatusNotImplemented)
}

func (n noStreams) ServeWire(w http.ResponseWriter, r *http.Request, c caller, path string) {
	n.refuse(w, c)
}
func (n noStreams) ServeSocket(w http.ResponseWriter, r *http.Request, c caller) { n.refuse(w, c) }
func (n noStreams) ServeEvents(w http.ResponseWriter, r *http.Request, c caller, patterns []string) {
	n.refuse(w, c)
}
func (n noStreams) ServePoll(w http.ResponseWriter, r *http.Request, c caller, pattern string, wait time.Duration) {
	n.refuse(w, c)
}
func (noStreams) Close() {}
