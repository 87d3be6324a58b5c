package nntpd

import (
	"errors"
	"strings"

	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/members"
)

// mayLogin says whether the client could log in: RFC 4643 §2.1; not once it has
// compressed, RFC 8054 §2.2.2.
func (x *session) mayLogin() bool {
	return x.srv.cfg.Accounts != nil && x.o.Account == "" && !x.compressed
}

// clearPassword says whether a password may come over this connection.
func (x *session) clearPassword() bool { return x.o.TLS || x.o.Trusted }

// doAuthinfo: RFC 4643 §2.3.
func (x *session) doAuthinfo() error {
	switch {
	case x.srv.cfg.Accounts == nil:
		x.c.Status(nntp.CodeDenied, "nobody can log in here")
		return nil
	case x.o.Account != "":
		x.c.Status(nntp.CodeDenied, "you are logged in already")
		return nil
	case x.compressed: // RFC 8054 §2.2.2: lengths tell of secrets
		x.c.Status(nntp.CodeDenied, "log in before compressing")
		return nil
	case x.c.Buffered() > 0: // RFC 4643 §2.2: what follows may be meant for another account
		x.line, x.user = "", ""
		x.log().Warn("nntp: login with commands behind it refused")
		x.c.Status(nntp.CodeAuthSequence, "wait for the answer to AUTHINFO before sending more; you are not logged in")
		return nil
	}
	// The word behind the keyword, blanks inside a password included.
	_, rest, _ := strings.Cut(x.line, " ")
	rest = strings.TrimLeft(rest, " \t")
	value := strings.TrimLeft(rest[len(x.args[0]):], " \t")
	switch strings.ToUpper(x.args[0]) {
	case "USER":
		if !x.clearPassword() {
			x.c.Status(nntp.CodeSecureRequired, "passwords are taken over TLS only")
			return nil
		}
		x.user = strings.TrimRight(value, " \t")
		x.c.Status(nntp.CodeAuthMore, "password, please")
	case "PASS":
		return x.password(value)
	case "SASL":
		if len(x.args) <= 3 {
			return x.doSASL(x.args[1], arg(x.args, 2))
		}
		fallthrough
	default:
		x.bad(nntp.CodeSyntax, "syntax: AUTHINFO USER name, then AUTHINFO PASS password; or AUTHINFO SASL mechanism [response]")
	}
	x.line = ""
	return nil
}

// password checks name and password. A wrong one costs the connection after a
// few times.
func (x *session) password(pass string) error {
	x.line = "" // it holds a password
	if x.user == "" {
		x.c.Status(nntp.CodeAuthSequence, "AUTHINFO USER comes first")
		return nil
	}
	name := x.user
	x.user = ""
	account, err := x.srv.cfg.Accounts.Login(x.srv.ctx, name, pass, x.o.Addr)
	if err != nil {
		return x.badLogin(name, err)
	}
	x.loggedIn(account)
	x.c.Status(nntp.CodeAuthOK, "welcome")
	return nil
}

func (x *session) loggedIn(account members.Account) {
	x.srv.Counts.Logins.Add(1)
	x.o.Account = account.Name
	x.access = nil
	x.group, x.cur = "", 0 // RFC 4643 does not ask for it, but rights may have changed
	x.whose()
}

// badLogin answers a login that failed. members slows guessing down; here a few
// wrong passwords cost the connection.
func (x *session) badLogin(name string, err error) error {
	var slow *members.Slow
	switch {
	case errors.Is(err, members.ErrPassword), errors.Is(err, members.ErrBanned), errors.As(err, &slow):
	default:
		return x.refuse(err, codes{busy: nntp.CodeInternal})
	}
	x.srv.Counts.BadLogins.Add(1)
	x.badLogins++
	x.quit = x.badLogins >= x.srv.cfg.MaxBadLogins
	x.log().Warn("nntp: login refused", "name", oneLine(name), "error", err)
	x.c.Status(nntp.CodeAuthRejected, oneLine(err.Error()))
	return nil
}
