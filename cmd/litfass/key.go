package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/litfass/litfass/pki"
)

func keyCommands() []command {
	return []command{
		{name: "new", args: "ACCOUNT --password-stdin", short: "make an identity for an account that has none, with recovery words", run: cmdKeyNew},
		{name: "show", args: "[ID|ACCOUNT|node]", short: "draw who vouches for whom", run: cmdKeyShow},
		{name: "trust", args: "[ID] [--purpose P] [--scope S] [--depth N] [--name NICK] [--remove] [--file FILE]",
			short: "believe in what an identity vouches for; --file brings its statements", run: cmdKeyTrust},
		{name: "fetch", args: "URL", short: "bring the statements that a neighbour's node has, from its web address", run: cmdKeyFetch,
			long: "URL is like http://box8.mesh:8080. The first time everything comes, later what is new. Every\nstatement is verified; the neighbour need not be trusted. For a peer of the configuration\nthe key pki = \"URL\" does this at the start and every hour."},
		{name: "rotate", args: "[--account NAME --password-stdin] [--bad-since WHEN]", short: "replace the node's key, or an account's, by the next one", run: cmdKeyRotate},
		{name: "recover", args: "[ID] --account NAME [--password-stdin] [--bad-since WHEN]", short: "take an identity back with its 24 words",
			long: "Asks for the recovery words and a new password. With --password-stdin the first line of\nstandard input is the password, the rest are the words.", run: cmdKeyRecover},
		{name: "vouch", args: "SUBJECT PURPOSE [--scope S] [--depth N] [--days N] [--param P] [--account NAME --password-stdin]",
			short: "give a right, or a name, to an identity or a key", run: cmdKeyVouch},
		{name: "revoke", args: "SUBJECT [--purpose P] [--bad-since WHEN] [--account NAME --password-stdin]", short: "take back what was vouched for", run: cmdKeyRevoke},
		{name: "chain", args: "[--from N] ID|ACCOUNT", short: "list the articles of a chain (podcast, blog), and say whether it is whole", run: cmdKeyChain,
			long: "Of a chain each article names the one before and is signed with a key of its own: none can\nbe put in, taken out or changed afterwards. \"?\" marks articles that do not count (yet). Exit\nstatus 1 if there are any, or if the chain is frozen. \"litfass user add NAME --chain\" makes one."},
		{name: "guardian", short: "people who together can give an identity back", sub: guardianCommands()},
		{name: "certdir", args: "DIR --account NAME CERT...", short: "write the TLS certificates an account believes in, for openssl and curl",
			long: "Takes certificates in PEM from the files named, and keeps those whose key and names a tls arrow\nof their owner covers, if the account has a trust-tls arrow to that owner. DIR is written anew.", run: cmdKeyCertdir},
		{name: "agent", args: "--account NAME --password-stdin [--socket PATH]", short: "lend an account's keys to ssh, git and others, until it is stopped",
			long: "Speaks the SSH agent protocol on PATH (default: pki-agent.sock in the data folder).\nSet SSH_AUTH_SOCK to it.", run: cmdKeyAgent},
		{name: "verify", args: "FILE", short: "say what the signature of an article is worth", run: cmdKeyVerify},
	}
}

// keyOwner adds the flags that say whose identity acts: the node's, or an account's.
func (c *call) keyOwner(u *keyJSON) (stdin *bool) {
	c.fs.StringVar(&u.Account, "account", "", "act as the identity of this `NAME`; without it: the node's")
	return c.fs.Bool("password-stdin", false, "read the account's password from standard input, one line")
}

// ownPassword reads the password if an account acts.
func (c *call) ownPassword(u *keyJSON, stdin bool) (err error) {
	if u.Account != "" {
		u.Password, err = c.password(stdin)
	}
	return err
}

// when is a flag: a date, a time, or how long ago.
type when struct{ t **time.Time }

func (w when) String() string { return "" }

func (w when) Set(s string) error {
	if d, err := parseDuration(s); err == nil {
		t := time.Now().Add(-d)
		*w.t = &t
		return nil
	}
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			*w.t = &t
			return nil
		}
	}
	return fmt.Errorf("%q is no time: write it like 2026-05-03, 2026-05-03 18:00, or 36h for 36 hours ago", s)
}

var _ flag.Value = when{}

func (c *call) badSince(u *keyJSON) {
	c.fs.Var(when{&u.BadSince}, "bad-since", "the key was in wrong hands since `WHEN` (2026-05-03, or 36h for 36 hours ago)")
}

// printWords shows recovery words, once.
func (c *call) printWords(words []string) {
	fmt.Fprint(c.out, "\nThe recovery words. They are shown this once and kept nowhere: write them down on\npaper. Whoever has them can take this identity over; without them a lost password\nor a stolen key can not be made good.\n\n")
	c.wordLines(words)
}

// wordLines prints words, six a line.
func (c *call) wordLines(words []string) {
	for i := 0; i < len(words); i += 6 {
		fmt.Fprintf(c.out, "  %2d  %s\n", i+1, strings.Join(words[i:min(i+6, len(words))], " "))
	}
	fmt.Fprintln(c.out)
}

func cmdKeyNew(c *call) error {
	stdin := c.fs.Bool("password-stdin", false, "read the account's password from standard input, one line")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	pw, err := c.password(*stdin)
	if err != nil {
		return err
	}
	var done keyJSON
	if err := c.ask("key/new", keyJSON{Account: c.args[0], Password: pw}, &done); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "%s is id:%s\n", c.args[0], done.ID)
	c.printWords(done.Words)
	return nil
}

func cmdKeyShow(c *call) error {
	if err := c.parse(0, 1); err != nil {
		return err
	}
	var in, out keyJSON
	if len(c.args) == 1 {
		in.ID = c.args[0]
	}
	if err := c.ask("key/show", in, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	if out.Standing != "" {
		fmt.Fprintf(c.out, "id:%s\n%s\n\n", out.ID, out.Standing)
	}
	for _, b := range out.Tree {
		c.branch(b, "", "")
	}
	return nil
}

// branch draws one branch of the tree.
func (c *call) branch(b pki.Branch, first, rest string) {
	line := b.Subject
	if b.Name != "" {
		line = b.Name + "  " + line
	}
	if len(b.Purposes) > 0 {
		line += "  " + strings.Join(b.Purposes, "; ")
	}
	if b.Status != "" && b.Status != "live" {
		line += "  [" + b.Status + "]"
	}
	if b.Until != 0 {
		line += "  until " + time.Unix(b.Until, 0).UTC().Format("2006-01-02")
	}
	if b.Again {
		line += "  (see above)"
	}
	fmt.Fprintln(c.out, first+line)
	for i, f := range b.Follow {
		if i+1 < len(b.Follow) || b.More > 0 {
			c.branch(f, rest+"├─ ", rest+"│  ")
		} else {
			c.branch(f, rest+"└─ ", rest+"   ")
		}
	}
	if b.More > 0 {
		fmt.Fprintf(c.out, "%s└─ and %d more\n", rest, b.More)
	}
}

func cmdKeyTrust(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Purpose, "purpose", "", "for what: post, moderate, create, gate, relay, introduce, * (`P`; default post)")
	c.fs.StringVar(&u.Scope, "scope", "", "in which groups: `PATTERNS` like mesh.*,!mesh.admin.*")
	c.fs.IntVar(&u.Depth, "depth", 2, "how many further arrows may follow: `N`")
	c.fs.StringVar(&u.Name, "name", "", "what you call it: `NICK`")
	c.fs.BoolVar(&u.Remove, "remove", false, "do not believe in it any more")
	file := c.fs.String("file", "", "statements to take in, from `FILE` (- is standard input)")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	if len(c.args) == 0 && *file == "" {
		return usagef("key trust: it takes an identity, or --file")
	}
	if len(c.args) == 1 {
		u.ID = c.args[0]
	}
	if *file != "" {
		text, err := c.readAll(*file)
		if err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		u.Text = text
	}
	var out keyJSON
	if err := c.ask("key/trust", u, &out); err != nil {
		return err
	}
	if c.json {
		return errors.Join(c.printJSON(out), anyRefused(out))
	}
	if *file != "" {
		c.printFates(out)
	}
	switch {
	case u.ID == "":
	case u.Remove:
		fmt.Fprintf(c.out, "id:%s is not trusted any more\n", out.ID)
	default:
		fmt.Fprintf(c.out, "id:%s is trusted for %s in %s, and whom it vouches for\n", out.ID, everything(or(u.Purpose, "post")), everything(or(u.Scope, "all groups")))
	}
	return anyRefused(out)
}

// printFates says what became of the statements of a file.
func (c *call) printFates(out keyJSON) {
	fmt.Fprintf(c.out, "%s known now\n", plural(out.Count, "statement"))
	if out.Held > 0 {
		fmt.Fprintf(c.out, "%d wait: nothing that is known here vouches for them yet\n", out.Held)
	}
	for _, why := range out.Refused {
		fmt.Fprintf(c.out, "refused: %s\n", why)
	}
}

// plural counts things whose name takes an s.
func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func anyRefused(out keyJSON) error {
	if len(out.Refused) == 0 {
		return nil
	}
	return fmt.Errorf("%s can never count; the rest was taken", plural(len(out.Refused), "statement"))
}

// where says where a right holds.
func where(scope string) string {
	if scope == "" || scope == "*" {
		return "everywhere"
	}
	return "in " + scope
}

// everything says what "*" means.
func everything(s string) string {
	if s == "*" {
		return "everything"
	}
	return s
}

// open opens a file that a command reads, or standard input for "-".
func (c *call) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(c.in), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err == nil && st.IsDir() {
		_ = f.Close()
		return nil, fmt.Errorf("%s is a folder", name)
	}
	return f, nil
}

// readAll reads a file, or standard input for "-"; at most 64 MiB.
func (c *call) readAll(name string) (string, error) {
	in, err := c.open(name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, 64<<20+1))
	if err == nil && len(b) > 64<<20 {
		err = errors.New("it is larger than 64 MiB")
	}
	return string(b), err
}

func cmdKeyRotate(c *call) error {
	var u keyJSON
	stdin := c.keyOwner(&u)
	c.badSince(&u)
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if err := c.ownPassword(&u, *stdin); err != nil {
		return err
	}
	if err := c.ask("key/rotate", u, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "the key of %s is replaced; the news of it travels as articles\n", or(u.Account, "this node"))
	return nil
}

func cmdKeyRecover(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Account, "account", "", "the account that is to have the identity: `NAME`")
	stdin := c.fs.Bool("password-stdin", false, "first line of standard input: the new password; the rest: the words")
	c.badSince(&u)
	if err := c.parse(0, 1); err != nil {
		return err
	}
	if u.Account == "" {
		return usagef("key recover: say which account is to have the identity: --account NAME")
	}
	if len(c.args) == 1 {
		u.ID = c.args[0]
	}
	in := bufio.NewReader(io.LimitReader(c.in, 64<<10))
	line := func(question string) (string, error) {
		if !*stdin {
			fmt.Fprint(c.out, question)
		}
		s, err := in.ReadString('\n')
		if s == "" && err != nil {
			return "", errors.New("standard input ended before everything was answered")
		}
		return strings.TrimSpace(s), nil
	}
	var err error
	u.Password, err = hushed(c.ctx, c.in, func() (string, error) { return line("A new password for " + u.Account + ": ") })
	if err != nil {
		return err
	}
	for len(strings.Fields(u.Text)) < 24 {
		s, err := line(fmt.Sprintf("Recovery words, from word %d on: ", len(strings.Fields(u.Text))+1))
		if err != nil {
			return err
		}
		u.Text += " " + s
	}
	if _, err := pki.ParseWords(u.Text); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/recover", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "%s has the identity id:%s, with new keys. The old words are used up.\n", u.Account, out.ID)
	c.printWords(out.Words)
	return nil
}

func cmdKeyVouch(c *call) error {
	var u keyJSON
	stdin := c.keyOwner(&u)
	c.fs.StringVar(&u.Scope, "scope", "", "in which groups: `PATTERNS` like mesh.*,!mesh.admin.* (default: all)")
	c.fs.IntVar(&u.Depth, "depth", 0, "how many further arrows may follow from the subject: `N`")
	c.fs.IntVar(&u.Days, "days", 0, "for how many days: `N` (default 400; 100 for moderate, create, gate, relay)")
	c.fs.StringVar(&u.Param, "param", "", "`PARAM` of the purpose, like nick=anna (of name), rate=20/day (of post)")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	u.Subject, u.Purpose = c.args[0], c.args[1]
	if err := c.ownPassword(&u, *stdin); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/vouch", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "%s vouches for %s: %s %s\n", or(u.Account, "this node"), out.Subject, u.Purpose, where(u.Scope))
	return nil
}

func cmdKeyRevoke(c *call) error {
	var u keyJSON
	stdin := c.keyOwner(&u)
	c.fs.StringVar(&u.Purpose, "purpose", "", "only what was given for `P`")
	c.badSince(&u)
	if err := c.parse(1, 1); err != nil {
		return err
	}
	u.Subject = c.args[0]
	if err := c.ownPassword(&u, *stdin); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/revoke", u, &out); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s taken back; the news of it travels as articles\n", plural(out.Count, "arrow"))
	return nil
}

func cmdKeyVerify(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	text, err := c.readAll(c.args[0])
	if err != nil {
		return fmt.Errorf("read the article: %w", err)
	}
	var out keyJSON
	if err := c.ask("key/verify", keyJSON{Octets: []byte(text)}, &out); err != nil {
		return err
	}
	if c.json {
		err = c.printJSON(out)
	} else {
		_, err = fmt.Fprintln(c.out, strings.TrimSpace(out.Result+" "+out.Detail))
	}
	if err == nil && out.Result != string(pki.ResultVerified) {
		return errSilent
	}
	return err
}

func cmdKeyCertdir(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Account, "account", "", "whose belief counts: `NAME`")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	if u.Account == "" {
		return usagef("key certdir: say whose belief counts: --account NAME")
	}
	for i, a := range c.args {
		path, err := filepath.Abs(a)
		if err != nil {
			return err
		}
		if c.args[i] = path; i > 0 {
			u.Files = append(u.Files, path)
		}
	}
	u.Subject = c.args[0]
	var out keyJSON
	if err := c.ask("key/certdir", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out.Certs)
	}
	n := 0
	for _, e := range out.Certs {
		if e.Why != "" {
			fmt.Fprintf(c.out, "left out  %s: %s\n", e.File, e.Why)
			continue
		}
		n++
		fmt.Fprintf(c.out, "%s  %s of id:%s\n", e.As, strings.Join(e.Names, ","), e.Identity)
	}
	fmt.Fprintf(c.out, "%s in %s\n", plural(n, "certificate"), c.args[0])
	return nil
}

func cmdKeyAgent(c *call) (err error) {
	var u keyJSON
	stdin := c.keyOwner(&u)
	c.fs.StringVar(&u.Subject, "socket", "", "where programs find it: `PATH`")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if u.Account == "" {
		return usagef("key agent: say whose keys are lent: --account NAME")
	}
	if err := c.ownPassword(&u, *stdin); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	if u.Subject, err = filepath.Abs(or(u.Subject, filepath.Join(cfg.Data, "pki-agent.sock"))); err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	ask, err := json.Marshal(u)
	if err != nil {
		return err
	}
	body, err := n.stream(c.ctx, "key/agent", "", bytes.NewReader(ask))
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(c.out, body) // its first line says where it listens; it ends with us
	if c.ctx.Err() != nil {
		return nil
	}
	return err
}
