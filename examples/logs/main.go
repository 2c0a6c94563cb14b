// Logs: lists that keep only their newest lines.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/oolith-db/oolith"
	"github.com/oolith-db/oolith/storage"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer) error {
	store, err := oolith.OpenWith("memory:", storage.Options{
		Retention: []storage.Retention{
			{Pattern: "logs/*/*", Count: 5},                // the newest five lines of each program
			{Pattern: "logs/*/*", Age: 7 * 24 * time.Hour}, // and none older than a week
		},
	})
	if err != nil {
		return err
	}
	defer store.Close()

	for i := range 100 {
		for _, program := range []string{"pump", "valve"} {
			if _, err := store.Push("logs/"+program+"/*", fmt.Appendf(nil, `{"line":%d}`, i)); err != nil {
				return err
			}
		}
	}
	// A line from last month is too old when it is stored.
	old := time.Now().AddDate(0, -1, 0).UnixNano()
	if _, err := store.SetWithMeta("logs/pump/old", []byte(`{"line":-1}`), old, 0); err != nil {
		return err
	}

	for _, program := range []string{"pump", "valve"} {
		lines, err := store.GetList("logs/" + program + "/*")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s keeps %d of 100 lines:", program, len(lines))
		for _, line := range lines {
			fmt.Fprintf(out, " %s", line.Data)
		}
		fmt.Fprintln(out)
	}
	return nil
}
