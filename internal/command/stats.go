package command

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/client"
)

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [URL]",
		Short: "Show the metrics of a store or of a server",
		Long: `Show the metrics of a store, given by URL or --store: the number of objects and directories, and
the size; for a server, also the metrics of the server. This needs a token with the verb admin.
A store on disk is read completely; "oolith info" shows more of its content.`,
		Example:           "  oolith stats http://127.0.0.1:8800",
		Args:              arguments(0, 1),
		ValidArgsFunction: completeStores,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.storeArgument(cmd, args); err != nil {
				return err
			}
			if !isServer(a.storeURL) {
				info, err := a.localInfo(cmd.Context())
				if err != nil {
					return err
				}
				return a.writeStats(storeFigures{info.Revision, info.Objects, info.Directories, info.DataBytes, info.DiskBytes, nil})
			}
			c, err := a.connect(a.storeURL)
			if err != nil {
				return err
			}
			stats, err := c.Stats(cmd.Context())
			if err != nil {
				return err
			}
			return a.writeStats(storeFigures{stats.Revision, stats.Objects, stats.Directories, stats.DataBytes, 0, &stats})
		},
	}
}

// storeFigures are the result of stats, as stats --json writes it.
type storeFigures struct {
	Revision    uint64 `json:"revision"`
	Objects     int64  `json:"objects"`
	Directories int64  `json:"directories"`
	DataBytes   int64  `json:"data_bytes"`
	// DiskBytes is the size of the store's files; 0 from a server.
	DiskBytes int64 `json:"disk_bytes,omitempty"`
	// Server has the server's own metrics.
	Server *client.Stats `json:"server,omitempty"`
}

func (a *app) writeStats(f storeFigures) error {
	if a.json {
		return writeJSON(a.stdout, f)
	}
	rows := [][2]string{
		{"revision", fmt.Sprint(f.Revision)}, {"objects", thousands(f.Objects)}, {"directories", thousands(f.Directories)},
		{"data", humanBytes(f.DataBytes)},
	}
	if s := f.Server; s != nil {
		rows = append(rows, [][2]string{
			{"expiring", thousands(s.Expiring)}, {"commits", thousands(int64(s.Commits))}, {"commit, p99", time.Duration(s.CommitP99Nanos).Round(time.Microsecond).String()},
			{"requests", thousands(s.Requests)}, {"connections", thousands(s.Connections)}, {"streams", thousands(s.Streams)},
			{"up for", (time.Duration(s.UptimeSeconds) * time.Second).String()},
		}...)
		if s.WritesStopped {
			rows = append(rows, [2]string{"writes", "stopped after a failed commit; restart the server"})
		}
	} else if location(a.storeURL) != "" {
		rows = append(rows, [2]string{"on disk", humanBytes(f.DiskBytes)})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(a.stdout, "%-12s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}
