package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/pki/directory"
	"github.com/litfass/litfass/spool"
)

// openKeys opens pki.db and the keys, and lets the agent sign and verify with
// them. The first start makes the node's identity and the directory's groups.
func (k *core) openKeys(ctx context.Context) error {
	db, err := state.Open(k.dir.join("pki.db"))
	if err != nil {
		return err
	}
	k.shut = append(k.shut, db.Close)
	ledger, err := pki.Open(db, k.now)
	if err != nil {
		return err
	}
	ledger.Built = buildTime().Unix()
	if ledger.Timeless() {
		k.log.Warn("the clock is before this program was built: set it; until then what is signed waits and nothing can be posted", "clock", k.now().UTC())
	}
	if k.keys, err = pki.OpenKeyring(filepath.Join(k.dir.path, "keys"), ledger); err != nil {
		return err
	}
	k.agent.Keys = k.keys
	publish := &directory.Publisher{Prefix: k.cfg.PKI.Prefix, Host: k.host, Ledger: ledger, Agent: k.agent, Log: k.log}
	k.requests = &directory.Requests{Prefix: k.cfg.PKI.Prefix, Host: k.host, Spool: k.spool, Publish: publish, Log: k.log, Now: k.now}
	k.keys.Unknown = k.requests.Unknown
	k.members.LoggedIn = func(name, password string) {
		if err := k.keys.Login(name, password); err != nil {
			k.log.Warn("a key's rights could not be renewed", "account", name, "error", err)
		}
	}
	k.agent.Filters = append(k.agent.Filters, directory.Filter{Prefix: k.cfg.PKI.Prefix, Ledger: ledger})
	return directory.MakeGroups(ctx, k.spool, k.cfg.PKI.Prefix)
}

// startKeys runs what keeps statements moving: the follower that applies those
// of articles, the publisher of our own, the sweep.
func (s *server) startKeys(context.Context) (*part, error) {
	k := s.core
	ctx, cancel := context.WithCancel(context.Background())
	follow := &directory.Follower{Prefix: k.cfg.PKI.Prefix, Spool: k.spool, Ledger: k.keys.Ledger, Told: func(source string, out pki.Outcome) {
		if n := out.Count(pki.Stopped); n > 0 {
			s.log.Warn("statements stopped by a quota", "from", source, "count", n)
		}
	}}
	if err := k.followers.Start(ctx, follow, agent.AtBeginning); err != nil {
		cancel()
		return nil, err
	}
	var wg sync.WaitGroup
	k.requests.Fetch = s.fetchKeys(ctx, &wg)
	if err := k.followers.Start(ctx, k.requests, agent.AtEnd); err != nil {
		cancel()
		wg.Wait()
		return nil, err
	}
	wg.Go(func() { k.requests.Publish.Run(ctx) })
	wg.Go(func() { k.requests.Run(ctx) })
	wg.Go(func() { s.tendKeys(ctx, follow) })
	s.metrics = append(s.metrics, func(w *metricWriter) {
		f := k.keys.Ledger.Figures()
		w.gauge("litfass_pki_identities", "identities known", float64(f.Identities))
		w.gauge("litfass_pki_arrows", "arrows that count", float64(f.Arrows))
		w.gauge("litfass_pki_held", "statements that nothing known vouches for yet", float64(f.Held))
	})
	return &part{name: "keys", stop: func(context.Context) error {
		cancel()
		wg.Wait()
		return k.keys.Ledger.Alive()
	}}, nil
}

// tendKeys looks again at what waits whenever statements came, and sweeps each hour.
func (s *server) tendKeys(ctx context.Context, follow *directory.Follower) {
	l := s.core.keys.Ledger
	hour, minute := time.NewTicker(time.Hour), time.NewTicker(time.Minute)
	defer hour.Stop()
	defer minute.Stop()
	timeless := l.Timeless()
	sweep := func() {
		if err := l.Sweep(); err != nil {
			s.log.Warn("old statements could not be swept out", "error", err)
		}
		if err := follow.Retry(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("statements that a quota stopped could not be tried again", "error", err)
		}
	}
	sweep()
	for {
		changed := l.Changed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			if err := s.core.agent.Reconsider(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("what waits for a key could not be looked at", "error", err)
			}
		case <-minute.C:
			if timeless == l.Timeless() {
				continue
			}
			timeless = !timeless
			if timeless {
				s.log.Warn("the clock has gone back before this program was built: set it; until then what is signed waits")
				continue
			}
			s.log.Info("the clock is right now: what waited for it is judged")
			sweep()
		case <-hour.C:
			sweep()
		}
	}
}

// webKeys adds the directory's paths.
func (s *server) webKeys(m *http.ServeMux) {
	m.Handle(directory.Path, directory.Handler(s.core.keys.Ledger))
}

// signerOf says in a line who signed a stored article and what that is worth: the
// metadata item :signer.
func (k *core) signerOf(ctx context.Context, e spool.Entry) (string, error) {
	if e.Has&article.HasSignature == 0 {
		return string(pki.ResultNone), nil
	}
	if e.Proof.State == article.ProofNone { // ranges leave it out
		full, err := k.spool.ByID(ctx, e.ID)
		if err != nil {
			return "", err
		}
		e = full
	}
	groups, _ := article.LenientGroups(e.Newsgroups, 0)
	r, err := k.keys.Judge(ctx, e.Proof, e.Arrived, groups)
	if err != nil || e.Proof.State == article.ProofNone {
		return r, err
	}
	return r + " " + e.Proof.Purpose + " " + e.Proof.Identity, nil
}

// newIdentity makes the identity of a new account; an administrator's may also
// moderate and make groups wherever this node is believed.
func (c *control) newIdentity(u userJSON) ([]string, error) {
	if u.Chain {
		_, words, err := c.core.keys.NewChain(u.Name)
		if err != nil {
			return nil, fmt.Errorf("the account is made, but its identity is not: %w", err)
		}
		return words, nil
	}
	id, words, err := c.core.keys.NewIdentity(u.Name, u.Password)
	if err != nil {
		return nil, fmt.Errorf("the account is made, but its identity is not: %w", err)
	}
	if u.Admin {
		for _, purpose := range []string{"moderate", "create"} {
			if _, err := c.core.keys.Vouch("", "", pki.Grant{Purpose: purpose, Subject: id.Subject()}); err != nil {
				return nil, fmt.Errorf("the account is made, but may not %s elsewhere: %w", purpose, err)
			}
		}
	}
	return words, nil
}

// keyActs answer the commands that begin with key.
func (c *control) keyActs() {
	act(c, "key/new", c.keyNew)
	act(c, "key/show", c.keyShow)
	act(c, "key/trust", c.keyTrust)
	act(c, "key/rotate", c.keyRotate)
	act(c, "key/recover", c.keyRecover)
	act(c, "key/vouch", c.keyVouch)
	act(c, "key/revoke", c.keyRevoke)
	act(c, "key/verify", c.keyVerify)
	act(c, "key/certdir", c.keyCertdir)
	act(c, "key/fetch", c.keyFetch)
	act(c, "key/chain", c.keyChain)
	act(c, "key/guardians", c.keyGuardians)
	act(c, "key/guardian-ask", c.keyGuardianAsk)
	act(c, "key/guardian-finish", c.keyGuardianFinish)
	c.mux.HandleFunc("POST /v1/key/agent", c.keyAgent)
}

// keyJSON is what the key commands send and get; each uses what it needs.
type keyJSON struct {
	Account  string     `json:"account,omitempty"`
	Password string     `json:"password,omitempty"` // to the node only
	ID       string     `json:"id,omitempty"`
	Words    []string   `json:"recovery_words,omitempty"`
	Subject  string     `json:"subject,omitempty"`
	Purpose  string     `json:"purpose,omitempty"`
	Scope    string     `json:"scope,omitempty"`
	Depth    int        `json:"depth,omitempty"`
	Days     int        `json:"days,omitempty"`
	Param    string     `json:"param,omitempty"`
	Name     string     `json:"name,omitempty"`
	Remove   bool       `json:"remove,omitempty"`
	BadSince *time.Time `json:"bad_since,omitempty"`
	Text     string     `json:"text,omitempty"`   // statements, or words
	Octets   []byte     `json:"octets,omitempty"` // an article
	Count    int        `json:"count,omitempty"`
	Stopped  int        `json:"stopped,omitempty"`
	Links    int        `json:"links,omitempty"`
	Held     int        `json:"held,omitempty"`    // statements that nothing known vouches for yet
	Refused  []string   `json:"refused,omitempty"` // statements that can never count, and why
	Result   string     `json:"result,omitempty"`
	Detail   string     `json:"detail,omitempty"`

	Files []string              `json:"files,omitempty"`
	Certs []directory.CertEntry `json:"certs,omitempty"`

	Chain []pki.ChainLink `json:"chain,omitempty"`
	Whole bool            `json:"whole,omitempty"`

	Standing string       `json:"standing,omitempty"`
	Status   string       `json:"status,omitempty"`
	Seq      *uint64      `json:"seq,omitempty"` // of the event in force
	Key      string       `json:"key,omitempty"` // that it brought
	Next     string       `json:"next,omitempty"`
	Tree     []pki.Branch `json:"tree,omitempty"`
}

// identity finds the identity that somebody means: an id, an account, or "node".
func (c *control) identity(name string) (pki.ID, error) {
	if name == "node" {
		return c.core.keys.NodeID(), nil
	}
	if id, ok := c.core.keys.Account(name); ok {
		return id, nil
	}
	id, err := pki.ParseID(name)
	if err != nil {
		return id, fmt.Errorf("%q is neither an account with an identity here nor an identity (%w); \"litfass key show\" lists them", name, err)
	}
	return id, nil
}

// subject finds what an arrow is to point to.
func (c *control) subject(name string) (pki.Subject, error) {
	if s, err := pki.ParseSubject(name); err == nil {
		return s, nil
	}
	id, err := c.identity(name)
	return id.Subject(), err
}

// checkPassword sees that the account is there and the password is its own.
func (c *control) checkPassword(ctx context.Context, u keyJSON) error {
	if u.Account == "" {
		return nil
	}
	if _, err := c.core.members.Get(ctx, u.Account); err != nil {
		return noUser(u.Account, err)
	}
	return nil
}

func (c *control) keyNew(ctx context.Context, u keyJSON) (keyJSON, error) {
	if err := c.checkPassword(ctx, u); err != nil {
		return keyJSON{}, err
	}
	id, words, err := c.core.keys.NewIdentity(u.Account, u.Password)
	return keyJSON{Account: u.Account, ID: id.String(), Words: words}, err
}

func (c *control) keyShow(_ context.Context, u keyJSON) (keyJSON, error) {
	var id pki.ID
	if u.ID != "" {
		var err error
		if id, err = c.identity(u.ID); err != nil {
			return keyJSON{}, err
		}
	}
	out := keyJSON{Tree: c.core.keys.Tree(id)}
	if !id.IsZero() {
		standing, err := c.core.keys.Standing(id)
		if err != nil {
			return out, err
		}
		out.ID, out.Standing = id.String(), standing
		return out, c.inForce(id, &out)
	}
	return out, nil
}

// inForce fills in which event counts, for scripts.
func (c *control) inForce(id pki.ID, out *keyJSON) error {
	st, err := c.core.keys.Ledger.Identity(id)
	if err != nil {
		return err
	}
	out.Status = st.Status.String()
	if st.Status == pki.Unheard {
		return nil
	}
	out.Key, out.Seq, out.Next = st.Current.Key.Text(), &st.Current.Seq, "none"
	if st.Current.Next != nil {
		out.Next = st.Current.Next.String()
	}
	return nil
}

func (c *control) keyTrust(_ context.Context, u keyJSON) (keyJSON, error) {
	l := c.core.keys.Ledger
	var out keyJSON
	if u.Text != "" {
		list, err := pki.ParseStatements(u.Text)
		if err != nil {
			if strings.Contains(u.Text, "\r") {
				err = fmt.Errorf("%w; its lines end with CR LF, and what is signed with LF alone: bring it over without conversion", err)
			}
			return keyJSON{}, err
		}
		done, err := l.Apply("", list)
		if err != nil {
			return keyJSON{}, err
		}
		out = fates(list, done)
	}
	if u.ID == "" {
		return out, nil
	}
	id, err := c.identity(u.ID)
	if err != nil {
		return keyJSON{}, err
	}
	out.ID = id.String()
	if u.Remove {
		return out, l.Distrust(id, u.Purpose, u.Scope)
	}
	purpose := u.Purpose
	if purpose == "" {
		purpose = "post"
	}
	return out, l.Trust(pki.Anchor{ID: id, Purpose: purpose, Scope: or(u.Scope, "*"), Depth: u.Depth, Name: u.Name})
}

// fates says what became of statements that somebody brought by hand.
func fates(list []*pki.Statement, done pki.Outcome) keyJSON {
	out := keyJSON{Count: done.Count(pki.Taken) + done.Count(pki.Known), Held: done.Count(pki.Held)}
	for i, fate := range done.Fates {
		if fate == pki.Refused {
			out.Refused = append(out.Refused, fmt.Sprintf("statement %d, about id:%s: %v", i+1, list[i].ID, done.Errs[i]))
		}
	}
	return out
}

func (c *control) keyRotate(_ context.Context, u keyJSON) (keyJSON, error) {
	return keyJSON{}, c.core.keys.Rotate(u.Account, u.Password, u.BadSince)
}

func (c *control) keyRecover(ctx context.Context, u keyJSON) (keyJSON, error) {
	if err := c.checkPassword(ctx, u); err != nil {
		return keyJSON{}, err
	}
	id, err := c.identity(or(u.ID, u.Account))
	if err != nil {
		return keyJSON{}, err
	}
	words, err := c.core.keys.Recover(id, u.Text, u.Account, u.Password, nil, u.BadSince)
	if err != nil {
		return keyJSON{}, err
	}
	return keyJSON{ID: id.String(), Words: words}, c.core.members.Passwd(ctx, u.Account, u.Password)
}

func (c *control) keyVouch(_ context.Context, u keyJSON) (keyJSON, error) {
	sub, err := c.subject(u.Subject)
	if err != nil {
		return keyJSON{}, err
	}
	if err := pki.CheckPurpose(u.Purpose); err != nil {
		return keyJSON{}, err
	}
	s, err := c.core.keys.Vouch(u.Account, u.Password, pki.Grant{Purpose: u.Purpose, Subject: sub, Scope: u.Scope, Depth: u.Depth, Days: u.Days, Param: u.Param})
	if err != nil {
		return keyJSON{}, err
	}
	return keyJSON{Subject: sub.String(), Text: s.Text()}, nil
}

func (c *control) keyRevoke(_ context.Context, u keyJSON) (keyJSON, error) {
	sub, err := c.subject(u.Subject)
	if err != nil {
		return keyJSON{}, err
	}
	n, err := c.core.keys.Revoke(u.Account, u.Password, sub, u.Purpose, u.BadSince)
	if err == nil && n == 0 {
		err = errors.New("there is no arrow from this identity to that; \"litfass key show\" draws those there are")
	}
	return keyJSON{Count: n}, err
}

func (c *control) keyCertdir(_ context.Context, u keyJSON) (keyJSON, error) {
	id, err := c.identity(u.Account)
	if err != nil {
		return keyJSON{}, err
	}
	list, err := directory.CertDir(c.core.keys.Ledger, id, c.core.now(), u.Subject, u.Files)
	return keyJSON{Certs: list}, err
}

// keyAgent lends an account's keys for as long as the command that asked lives.
func (c *control) keyAgent(w http.ResponseWriter, r *http.Request) {
	var u keyJSON
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		reply(w, nil, fmt.Errorf("the request is no JSON: %w", err))
		return
	}
	keys, err := c.core.keys.Lend(u.Account, u.Password)
	if err != nil {
		reply(w, nil, err)
		return
	}
	l, err := directory.Listen(u.Subject)
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer os.Remove(u.Subject)
	fmt.Fprintf(w, "SSH_AUTH_SOCK=%s; export SSH_AUTH_SOCK\n", u.Subject)
	_ = http.NewResponseController(w).Flush() // pipes and sockets can
	if err := (&directory.Lender{Keys: keys}).Serve(r.Context(), l); err != nil {
		c.core.log.Error("key agent", "error", err)
	}
}
