package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/litfass/litfass/pki"
)

func guardianCommands() []command {
	return []command{
		{name: "new", short: "make a guardian's key: 24 words for paper, and a key to give to the owner", run: cmdGuardianNew,
			long: "Done by each guardian, on any machine. Nothing is kept: the words are the key."},
		{name: "name", args: "KEY... --need N --account NAME --password-stdin", short: "let N of these guardians recover the account's identity, instead of its words", run: cmdGuardianName,
			long: "Standard input holds the account's password and its 24 recovery words, which are used up.\nIt prints the line that says who the guardians are: recovering needs it, and nobody else\nhas it. Give it to all of them."},
		{name: "ask", args: "ID --account NAME --line LINE --password-stdin [--bad-since WHEN]", short: "begin to recover an identity: write down what its guardians must sign", run: cmdGuardianAsk,
			long: "Standard input holds the new password. What is printed goes to the guardians, by mail,\non a stick, on paper: it is no secret."},
		{name: "approve", args: "FILE", short: "sign, as a guardian, what the owner asks for", run: cmdGuardianApprove,
			long: "FILE is what the owner sent. Standard input holds the guardian's 24 words. Call the owner\nfirst and hear his voice: whoever gets enough of these lines has the identity."},
		{name: "finish", args: "FILE... --account NAME --password-stdin", short: "take the identity over with the lines that the guardians signed", run: cmdGuardianFinish},
	}
}

func cmdGuardianNew(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	words, k := pki.NewGuardian()
	if c.json {
		return c.printJSON(keyJSON{Subject: k.Subject().String(), Words: words})
	}
	fmt.Fprint(c.out, "\nThe guardian's words. They are shown this once and kept nowhere: write them down on\npaper, and keep it safe. They do nothing alone.\n\n")
	c.wordLines(words)
	fmt.Fprintf(c.out, "Give this to the one you guard:\n\n  %s\n\n", k.Subject())
	return nil
}

// passwordAndWords reads standard input: its first line, and 24 words from the rest.
func (c *call) passwordAndWords(stdin bool) (password, words string, err error) {
	if !stdin {
		return "", "", usagef("%s: password and words come on standard input: add --password-stdin", c.path)
	}
	in := bufio.NewReader(io.LimitReader(c.in, 64<<10))
	password, err = in.ReadString('\n')
	if err != nil {
		return "", "", errors.New("standard input ended before everything was answered: first line the password, then the words")
	}
	rest, err := io.ReadAll(in)
	if err != nil {
		return "", "", fmt.Errorf("read the words: %w", err)
	}
	_, err = pki.ParseWords(string(rest))
	return strings.TrimRight(password, "\r\n"), string(rest), err
}

func cmdGuardianName(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Account, "account", "", "whose identity: `NAME`")
	c.fs.IntVar(&u.Count, "need", 0, "how many of them it takes: `N`, at most 4")
	stdin := c.fs.Bool("password-stdin", false, "first line of standard input: the password; the rest: the 24 words")
	if err := c.parse(2, 9); err != nil {
		return err
	}
	if u.Account == "" || u.Count == 0 {
		return usagef("key guardian name: say whose identity, --account NAME, and how many guardians it takes, --need N")
	}
	u.Files = c.args
	var err error
	if u.Password, u.Text, err = c.passwordAndWords(*stdin); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/guardians", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "%d of %d guardians can recover the identity of %s from now on; its words are used up.\n"+
		"This line says who they are. Keep it, and give it to them: without it they can do nothing.\n\n%s\n", u.Count, len(c.args), u.Account, out.Text)
	return nil
}

func cmdGuardianAsk(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Account, "account", "", "the account that is to have the identity: `NAME`")
	c.fs.StringVar(&u.Param, "line", "", "the `LINE` that says who the guardians are")
	stdin := c.fs.Bool("password-stdin", false, "read the new password from standard input, one line")
	c.badSince(&u)
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if u.Account == "" || u.Param == "" {
		return usagef("key guardian ask: say which account is to have the identity, --account NAME, and who its guardians are, --line LINE")
	}
	u.ID = c.args[0]
	var err error
	if u.Password, err = c.password(*stdin); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/guardian-ask", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprint(c.err, "What follows goes to the guardians (put it into a file with > FILE). With their lines:\n  litfass key guardian finish FILE... --account ", u.Account, " --password-stdin\n")
	fmt.Fprint(c.err, "\nThe new recovery words. They hold once the guardians have signed. They are shown this\nonce and kept nowhere: write them down on paper.\n\n")
	c.out, c.err = c.err, c.out
	c.wordLines(out.Words)
	c.out, c.err = c.err, c.out
	_, err = io.WriteString(c.out, out.Text)
	return err
}

func cmdGuardianApprove(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	part, err := os.ReadFile(c.args[0])
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	words, err := io.ReadAll(io.LimitReader(c.in, 64<<10))
	if err != nil {
		return fmt.Errorf("read the words: %w", err)
	}
	sig, what, err := pki.Approve(string(part), string(words))
	if err != nil {
		return err
	}
	since := ""
	if what.BadSince != nil {
		since = ", because its keys are in wrong hands since " + what.BadSince.UTC().Format(time.DateTime)
	}
	fmt.Fprintf(c.err, "You let the one who asked on %s UTC take over id:%s%s; %s must agree.\nThis line goes to him:\n", what.Time.UTC().Format(time.DateTime), what.ID, since, what.Policy.Describe())
	_, err = fmt.Fprintln(c.out, sig)
	return err
}

func cmdGuardianFinish(c *call) error {
	var u keyJSON
	c.fs.StringVar(&u.Account, "account", "", "the account that is to have the identity: `NAME`")
	stdin := c.fs.Bool("password-stdin", false, "read the new password from standard input, one line")
	if err := c.parse(1, 9); err != nil {
		return err
	}
	if u.Account == "" {
		return usagef("key guardian finish: say which account is to have the identity: --account NAME")
	}
	for _, file := range c.args {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read what a guardian signed: %w", err)
		}
		u.Files = append(u.Files, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	}
	var err error
	if u.Password, err = c.password(*stdin); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/guardian-finish", u, &out); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s has the identity id:%s, with new keys. The recovery words shown when you asked hold now.\n", u.Account, out.ID)
	return nil
}

// cmdKeyChain lists the articles of a chain and says whether it is whole.
func cmdKeyChain(c *call) error {
	var u keyJSON
	from := c.fs.Uint64("from", 0, "begin with article number `N`")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	u.ID, u.Count = c.args[0], int(*from)
	var out keyJSON
	if err := c.ask("key/chain", u, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "id:%s\n%s\n\n", out.ID, out.Standing)
	for _, l := range out.Chain {
		mark := "  "
		if !l.InForce {
			mark = "? "
		}
		fmt.Fprintf(c.out, "%s%4d  %s  %.12s  %s  %s\n", mark, l.Q, time.Unix(l.Time, 0).UTC().Format("2006-01-02 15:04"), l.Digest, l.Groups, l.Subject)
	}
	if !out.Whole {
		return errSilent
	}
	return nil
}
