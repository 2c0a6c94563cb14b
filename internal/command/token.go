package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oolith-db/oolith/server"
)

func (a *app) tokenCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke the tokens of a server",
		Long: `Create, list and revoke the access tokens of a server.

Tokens are files in a directory beside the store: ./oolith-data.tokens for pebble:./oolith-data.
A running server notices changes there within a second. A file contains only the hash of a
token. Once there is a token, serve requires one from every client.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&dir, "tokens", "", "the `DIRECTORY` of the tokens (default: beside the store)")
	cmd.AddCommand(a.tokenCreateCommand(&dir), a.tokenListCommand(&dir), a.tokenRevokeCommand(&dir))
	return cmd
}

// tokenMade is what token create --json writes.
type tokenMade struct {
	server.Token
	Text string `json:"token"`
}

func (a *app) tokenCreateCommand(dir *string) *cobra.Command {
	var name string
	var scopes []string
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "create --scope VERBS:PATTERN...",
		Short: "Create a token and show it once",
		Long: `Create a token and show it. This is the only time it is shown, because only its hash is stored.

A scope consists of verbs (read, write, admin) and a pattern, and allows the verbs for
everything that the pattern matches. A pattern that ends in ** matches everything below. The
server's metrics need admin for **.`,
		Example: `  oolith token create --name dashboard --scope 'read:**'
  oolith token create --scope 'read,write:devices/**' --scope 'read:config/*' --ttl 90d
  oolith token create --name operator --scope 'read,write,admin:**'`,
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			place, err := a.tokensDirectory(*dir)
			if err != nil {
				return err
			}
			parsed := make([]server.Scope, len(scopes))
			for i, text := range scopes {
				if parsed[i], err = server.ParseScope(text); err != nil {
					return usage(err)
				}
			}
			if len(parsed) == 0 {
				return usage(fmt.Errorf("token create: --scope is missing, expected one such as --scope 'read:**'"))
			}
			token, text, err := server.CreateToken(place, name, parsed, lifetime)
			if err != nil {
				return err
			}
			if a.json {
				return writeJSON(a.stdout, tokenMade{token, text})
			}
			_, err = fmt.Fprintln(a.stdout, text)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "a name for people")
	cmd.Flags().StringArrayVar(&scopes, "scope", nil, "allow `VERBS:PATTERN`; may be repeated")
	cmd.Flags().Var(ttlValue{&lifetime}, "ttl", "time to live, such as 12h or 90d (default: no expiry)")
	return cmd
}

func (a *app) tokenListCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List the tokens, without their secrets",
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			place, err := a.tokensDirectory(*dir)
			if err != nil {
				return err
			}
			tokens, err := server.ListTokens(place)
			if err != nil {
				return err
			}
			for _, token := range tokens {
				if err := a.writeToken(token); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) writeToken(token server.Token) error {
	if a.json {
		return writeJSON(a.stdout, token)
	}
	scopes := make([]string, len(token.Scopes))
	for i, scope := range token.Scopes {
		scopes[i] = scope.String()
	}
	ends := "-"
	if !token.Expires.IsZero() {
		ends = formatTime(token.Expires.UnixNano(), a.screen())
	}
	_, err := fmt.Fprintf(a.stdout, "%s\t%s\t%s\t%s\n", token.ID, printable(token.Name), strings.Join(scopes, " "), ends)
	return err
}

func (a *app) tokenRevokeCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID...",
		Short: "Revoke tokens permanently",
		Long: `Revoke tokens by their IDs, as token list shows them. Open streams of the tokens end within a
second.`,
		Args:              arguments(1, many),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			place, err := a.tokensDirectory(*dir)
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := server.RevokeToken(place, id); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
