package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/peer"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/pki/directory"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
	"github.com/litfass/litfass/webforum/past"
	"github.com/litfass/litfass/webforum/ward"
)

// openSpool opens the articles.
func (k *core) openSpool(context.Context) error {
	s, err := local.Open(k.spoolConfig())
	if err != nil {
		return fmt.Errorf("%w; \"litfass spool reindex\" makes the index anew from the articles", err)
	}
	k.local, k.spool = s, s
	k.shut = append(k.shut, s.Close)
	return nil
}

func (k *core) spoolConfig() local.Config {
	c := k.spoolLimits(k.cfg)
	c.Dir, c.Now, c.Log = k.dir.join("spool"), k.now, k.log
	return c
}

// spoolLimits is what of the spool's configuration may change while it is open.
func (k *core) spoolLimits(c config) local.Config {
	return local.Config{Quota: int64(c.Spool.Quota), Keep: time.Duration(c.Spool.Keep),
		KeepMin: nonZero(time.Duration(c.Spool.KeepMin)), Remember: remember(c.Spool.Cutoff)}
}

// remember is how long the ids of articles that are gone are known: as long as
// they could come again. Without a cutoff that has no end; a year must do.
func remember(cutoff duration) time.Duration {
	if cutoff == 0 {
		return 365 * 24 * time.Hour
	}
	return time.Duration(cutoff)
}

// nonZero turns "0", no limit, into what local.Config calls none.
func nonZero(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// openAgent opens what cannot be rebuilt (state.db) and sets up who decides.
func (k *core) openAgent(context.Context) error {
	db, err := state.Open(k.dir.join("state.db"))
	if err != nil {
		return err
	}
	k.state = db
	k.shut = append(k.shut, db.Close)
	k.members = &members.Book{DB: db, Now: k.now, MakeRoom: makeRoom}
	if k.ward, err = ward.New(db, k.now); err != nil {
		return err
	}
	k.past = &past.Book{DB: db, Now: k.now}
	k.shown = ward.NewScreen(k.spool, k.ward)
	if k.peers, err = newPeerBook(db, k.cfg); err != nil {
		return err
	}
	if k.usage, err = agent.OpenLedger(db, k.now); err != nil {
		return err
	}
	k.shut = append(k.shut, k.usage.Save)
	k.agent = &agent.Agent{
		Host: k.host, Spool: k.spool, State: db, Members: k.members, Peers: k.peers,
		Limits: k.limits(), Policy: k.cfg.policy(), Filters: k.filters(), Barred: k.barredAccount, Now: k.now, Log: k.log, Kept: k.usage.Kept,
		Superseded: k.superseded, Withdrawn: k.withdrawn,
	}
	return nil
}

func (c config) policy() agent.Policy {
	return agent.Policy{
		Anonymous: map[string]string{"nntp": c.NNTP.Anonymous, "smtp": c.SMTP.Anonymous, "web": c.HTTP.Anonymous},
		GuestRead: c.Guests.Read, GuestPost: c.Guests.Post,
		Cutoff: time.Duration(c.Spool.Cutoff), MaxPost: int64(c.NNTP.MaxPost), Require: c.PKI.Require,
		MaxGroups: orAll(c.Limits.PostGroups), MaxFollow: c.Limits.Followup,
		DropLeftOut: c.PKI.LeftOut == "remove",
	}
}

// importOne files one article of an archive.
func (k *core) importOne(ctx context.Context, wire []byte, group article.Group) (spool.Entry, error) {
	o := agent.Origin{Door: "import"}
	if group != "" {
		return k.agent.Import(ctx, wire, o, group)
	}
	return k.agent.Import(ctx, wire, o)
}

// startFollowers starts what acts on articles that arrived, each from its own
// cursor. Rooms add their followers here.
func (s *server) startFollowers(context.Context) (*part, error) {
	k := s.core
	ctx, cancel := context.WithCancel(context.Background())
	k.followers = &agent.Followers{Spool: k.spool, State: k.state, Log: s.log, Now: k.now}
	err := k.followers.Start(ctx, &agent.Control{Agent: k.agent}, agent.AtBeginning)
	if err != nil {
		cancel()
		return nil, err
	}
	tended := make(chan struct{})
	go func() { defer close(tended); k.agent.Tend(ctx) }()
	s.metrics = append(s.metrics, func(w *metricWriter) {
		lags := map[string]float64{}
		for _, l := range k.followerStates() {
			lags[l.Name] = float64(l.Lag)
		}
		w.labelled("gauge", "litfass_follower_lag", "articles a follower has still to see", "follower", lags)
		counts := map[string]float64{}
		for c, n := range k.agent.Stats() {
			counts[c.Intake+" "+c.Code] += float64(n)
		}
		w.labelled("counter", "litfass_articles_total", "what became of articles and offers, by intake and reason", "outcome", counts)
	})
	return &part{name: "followers", stop: func(context.Context) error {
		cancel()
		k.followers.StopAll()
		<-tended
		return nil
	}}, nil
}

func (k *core) followerStates() []followerJSON {
	out := []followerJSON{}
	if k.followers == nil {
		return out
	}
	for _, l := range k.followers.Lags() {
		out = append(out, followerJSON{Name: l.Name, Lag: l.Behind})
	}
	return out
}

func (k *core) waitingCount(ctx context.Context) (int, error) {
	held, err := k.agent.Waiting(ctx)
	return len(held), err
}

// peerState keeps the cursors of peers in state.db.
type peerState struct{ db *state.DB }

const peerStateBucket = "peer.cursors"

func (p peerState) Load(name string) (b []byte, err error) {
	err = p.db.View(func(tx *state.Tx) error { b = append(b, tx.Get(peerStateBucket, name)...); return nil })
	if len(b) == 0 {
		b = nil
	}
	return b, err
}

func (p peerState) Save(name string, b []byte) error {
	return p.db.Update(func(tx *state.Tx) error {
		if b == nil {
			return tx.Delete(peerStateBucket, name)
		}
		return tx.Put(peerStateBucket, name, b)
	})
}

// startPeers starts the senders to neighbours; they change with the peer book.
func (s *server) startPeers(context.Context) (*part, error) {
	k := s.core
	feeds := peer.New(peer.Config{
		Spool: k.spool, State: peerState{k.state}, Relay: k.agent, TLS: k.tls.Client(), Max: int(k.cfg.NNTP.MaxArticle), Log: s.log, Now: k.now,
		First: func(ctx context.Context, after spool.Seq) ([]spool.Entry, error) {
			return directory.Revocations(ctx, k.spool, k.cfg.PKI.Prefix, after)
		},
	})
	set := func(all []peerSection) {
		if err := feeds.Set(s.feedPeers(all)); err != nil {
			s.log.Error("peers: going on with those there are", "error", err)
		}
	}
	k.peers.mu.Lock()
	k.peers.tell = set
	k.peers.mu.Unlock()
	all, _ := k.peers.sections()
	set(all)
	k.peerFigures = func(p *peerStatusJSON) { fillFigures(p, feeds.Stats()) }
	s.seen = func(names []string) { // a peer that connects can be reached again
		for _, name := range names {
			feeds.Wake(name)
		}
	}
	s.reloads = append(s.reloads, s.reloadCore)
	s.metrics = append(s.metrics, func(w *metricWriter) {
		lag, accepted := map[string]float64{}, map[string]float64{}
		for _, st := range feeds.Stats() {
			lag[st.Name], accepted[st.Name] = float64(st.Lag), float64(st.Accepted)
		}
		w.labelled("gauge", "litfass_peer_lag", "articles a peer has still to be offered", "peer", lag)
		w.labelled("counter", "litfass_peer_accepted_total", "articles a peer took", "peer", accepted)
	})
	return &part{name: "peers", stop: func(context.Context) error {
		k.peers.mu.Lock()
		k.peers.tell = nil
		k.peers.mu.Unlock()
		feeds.Stop()
		return nil
	}}, nil
}

// pullEvery is how often a peer with pull is asked for news.
const pullEvery = time.Minute

// feedPeers turns the sections into what feeds/peer wants.
func (s *server) feedPeers(all []peerSection) []peer.Peer {
	var out []peer.Peer
	for _, p := range all {
		pw, err := readPassword(p.Password)
		if err != nil {
			s.log.Error("peer left without its login", "peer", p.Name, "error", err)
		}
		fp := peer.Peer{Name: p.Name, Path: p.Path, Address: p.Address, Send: p.Send, Take: p.Take, Dist: p.Distributions, User: p.User, Password: pw}
		if len(p.Key) > 5 && p.Key[:5] == "spki:" {
			fp.Key = p.Key
		}
		if p.Pull {
			fp.Pull = pullEvery
		}
		if s.core.peers.isPaused(p.Name) {
			fp.Address, fp.Pull = "", 0
		}
		out = append(out, fp)
	}
	return out
}

func fillFigures(p *peerStatusJSON, stats []peer.Stats) {
	for _, st := range stats {
		if st.Name != p.Name {
			continue
		}
		p.Running, p.Connected, p.Lag, p.Deferred = true, st.Conns > 0, st.Lag, st.Deferred
		p.Accepted, p.Refused, p.Rate, p.LastError = st.Accepted, st.Refused, st.Rate, st.LastError
		p.Pulled = st.Pulled
		if !st.ErrorAt.IsZero() {
			p.ErrorAt = st.ErrorAt.UTC().Format(time.RFC3339)
		}
	}
}

// webRooms adds the paths of the rooms to the mux.
func (s *server) webRooms(m *http.ServeMux) {
	s.forumPages(m)
	s.webKeys(m)
}
