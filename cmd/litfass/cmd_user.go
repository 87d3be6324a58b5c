package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/members"
)

// userJSON is an account as commands send and show it.
type userJSON struct {
	Name     string   `json:"name"`
	Email    string   `json:"email,omitempty"`
	Admin    bool     `json:"admin"`
	Feeds    string   `json:"feeds,omitempty"`
	Chain    bool     `json:"chain,omitempty"` // its identity is a chain
	Created  string   `json:"created,omitempty"`
	Seen     string   `json:"seen,omitempty"`
	Password string   `json:"password,omitempty"` // to the node only
	Words    []string `json:"recovery_words,omitempty"`
	NoAdmin  bool     `json:"no_admin,omitempty"` // nobody may administer the node in the browser yet
}

func userCommands() []command {
	return []command{
		{name: "add", args: "NAME [--email A] [--admin] [--feeds PEER] [--chain] --password-stdin", short: "make an account", run: cmdUserAdd},
		{name: "list", short: "list accounts", run: cmdUserList},
		{name: "passwd", args: "NAME --password-stdin|--old-stdin", short: "set a password", run: cmdUserPasswd,
			long: "With --old-stdin standard input holds two lines, the password so far and the new one: the\naccount's identity, which is sealed under its password, goes along. With --password-stdin it\nholds the new one only, and the identity stays under the old one."},
		{name: "set", args: "NAME [--admin] [--email A] [--read WILDMAT] [--post WILDMAT] [--moderate WILDMAT] [--mark-read] [--day-articles N] [--day-size SIZE]", short: "what an account may do", run: cmdUserSet},
		{name: "newsrc", args: "NAME --export | --import FILE", short: "what an account has read and subscribed, as a .newsrc", run: cmdUserNewsrc},
		{name: "rm", args: "NAME", short: "remove an account", run: cmdUserRm},
	}
}

// passwdJSON changes a password; Behind says that the account's identity did not
// go along.
type passwdJSON struct {
	Name     string `json:"name"`
	Old      string `json:"old,omitempty"`      // to the node only
	Password string `json:"password,omitempty"` // to the node only
	Behind   bool   `json:"identity_under_old_password"`
}

// password reads one line from standard input.
func (c *call) password(asked bool) (string, error) {
	if !asked {
		return "", usagef("%s: the password comes on standard input: add --password-stdin", c.path)
	}
	in, ok := c.in.(*bufio.Reader) // a command that reads more than one line
	if !ok {
		in = bufio.NewReader(io.LimitReader(c.in, 4096))
	}
	line, err := in.ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("read the password: standard input holds no line")
	}
	return line, nil
}

func cmdUserAdd(c *call) error {
	var u userJSON
	c.fs.StringVar(&u.Email, "email", "", "mail `ADDRESS`")
	c.fs.BoolVar(&u.Admin, "admin", false, "may do everything")
	c.fs.StringVar(&u.Feeds, "feeds", "", "this account is the login of the `PEER` of that name")
	c.fs.BoolVar(&u.Chain, "chain", false, "for a podcast or a blog: each article names the one before, none can be changed afterwards")
	stdin := c.fs.Bool("password-stdin", false, "read the password from standard input, one line")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var err error
	if u.Password, err = c.password(*stdin); err != nil {
		return err
	}
	u.Name = c.args[0]
	var done userJSON
	if err := c.ask("user/add", u, &done); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "account %s made\n", u.Name)
	if len(done.Words) > 0 {
		c.printWords(done.Words)
	}
	if done.NoAdmin {
		fmt.Fprintf(c.out, "\nNobody administers this node in the browser yet: litfass user set %s --admin lets %[1]s do so.\n", u.Name)
	}
	return nil
}

func cmdUserPasswd(c *call) error {
	stdin := c.fs.Bool("password-stdin", false, "read the new password from standard input, one line")
	both := c.fs.Bool("old-stdin", false, "read the old password and the new one from standard input, two lines")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	in := passwdJSON{Name: c.args[0]}
	c.in = bufio.NewReaderSize(io.LimitReader(c.in, 8192), 8192) // password reads a line of it
	var err error
	if *both {
		if in.Old, err = c.password(true); err != nil {
			return err
		}
	}
	if in.Password, err = c.password(*stdin || *both); err != nil {
		return err
	}
	var done passwdJSON
	if err := c.ask("user/passwd", in, &done); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "password of %s set\n", in.Name)
	if done.Behind {
		fmt.Fprintf(c.out, "Its identity is still sealed under the old password, which this node does not know:\n"+
			"%[1]s can log in, read and post, but not rotate keys, vouch or revoke, and the right of\n"+
			"this node to post for %[1]s is not renewed at login. To cure that, one of\n"+
			"  litfass user passwd %[1]s --old-stdin      with the old password and the new one\n"+
			"  litfass key recover --account %[1]s        with the 24 recovery words\n", in.Name)
	}
	return nil
}

func cmdUserRm(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("user/rm", userJSON{Name: c.args[0]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "account %s removed\n", c.args[0])
	return nil
}

func cmdUserList(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []userJSON{}
	if err := c.ask("user/list", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, u := range list {
		role := ""
		if u.Admin {
			role = "admin"
		}
		if u.Feeds != "" {
			role = strings.TrimSpace(role + " feeds " + u.Feeds)
		}
		rows = append(rows, []string{u.Name, u.Email, role, or(u.Seen, "never")})
	}
	c.printTable([]string{"NAME", "EMAIL", "ROLE", "LAST LOGIN"}, rows)
	return nil
}

func (c *control) userActs() {
	book := c.core.members
	act(c, "user/add", c.userAdd)
	act(c, "user/passwd", c.userPasswd)
	act(c, "user/set", c.userSet)
	c.mux.HandleFunc("POST /v1/user/newsrc", c.newsrc)
	act(c, "user/rm", func(ctx context.Context, u userJSON) (struct{}, error) { return struct{}{}, c.userRm(ctx, u.Name) })
	act(c, "user/list", func(ctx context.Context, _ struct{}) ([]userJSON, error) {
		accounts, err := book.List(ctx)
		out := []userJSON{}
		for _, a := range accounts {
			u := userJSON{Name: a.Name, Email: a.Email, Admin: a.Admin, Feeds: a.Feeds, Created: a.Created.Format(time.RFC3339)}
			if !a.Seen.IsZero() {
				u.Seen = a.Seen.Format(time.RFC3339)
			}
			out = append(out, u)
		}
		return out, err
	})
}

func (c *control) userAdd(ctx context.Context, u userJSON) (userJSON, error) {
	err := c.core.members.Add(ctx, members.Account{Name: u.Name, Email: u.Email, Admin: u.Admin, Feeds: u.Feeds}, u.Password)
	if errors.Is(err, members.ErrExists) {
		return u, fmt.Errorf("there is an account %s already; \"litfass user passwd\" sets its password", u.Name)
	}
	if err == nil && u.Feeds == "" {
		u.Words, err = c.newIdentity(u)
	}
	if err == nil && u.Feeds == "" {
		u.NoAdmin, err = c.nobodyAdmin(ctx)
	}
	u.Password = ""
	return u, err
}

// nobodyAdmin says that no account is an administrator's.
func (c *control) nobodyAdmin(ctx context.Context) (bool, error) {
	accounts, err := c.core.members.List(ctx)
	return err == nil && !slices.ContainsFunc(accounts, func(a members.Account) bool { return a.Admin }), err
}

// userPasswd sets a password. With the old one the identity goes along, first: a
// wrong one changes nothing, and if the rest fails it goes back.
func (c *control) userRm(ctx context.Context, name string) error {
	if err := noUser(name, c.core.members.Remove(ctx, name)); err != nil {
		return err
	}
	return c.core.keys.Forget(name)
}

func (c *control) userPasswd(ctx context.Context, u passwdJSON) (passwdJSON, error) {
	if _, err := c.core.members.Get(ctx, u.Name); err != nil {
		return passwdJSON{}, noUser(u.Name, err)
	}
	if u.Old != "" {
		if err := c.core.keys.Reseal(u.Name, u.Old, u.Password); err != nil {
			return passwdJSON{}, fmt.Errorf("nothing is changed: the identity of %s is not sealed under that old password: %w", u.Name, err)
		}
	}
	if err := c.core.members.Passwd(ctx, u.Name, u.Password); err != nil {
		if u.Old != "" {
			err = errors.Join(err, c.core.keys.Reseal(u.Name, u.Password, u.Old))
		}
		return passwdJSON{}, noUser(u.Name, err)
	}
	return passwdJSON{Name: u.Name, Behind: u.Old == "" && !c.core.keys.SealedUnder(u.Name, u.Password)}, nil
}

func noUser(name string, err error) error {
	if errors.Is(err, members.ErrNotFound) {
		return fmt.Errorf("there is no account %s; \"litfass user list\" shows those there are", name)
	}
	return err
}
