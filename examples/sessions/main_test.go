package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// The bubble has the time, so that no busy machine ends the tablet's session early.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(&out, time.Second); err != nil {
			t.Fatal(err)
		}
		want := "ended: sessions/kiosk\nended: sessions/wall\nstill there: sessions/tablet, for 1h0m0s\n"
		if out.String() != want {
			t.Errorf("it says\n%swant\n%s", out.String(), want)
		}
	})
}
