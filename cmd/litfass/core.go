package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/discover"
	"github.com/litfass/litfass/feeds/syndicate"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/internal/tlsid"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/pki/directory"
	"github.com/litfass/litfass/smtpd/courier"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
	"github.com/litfass/litfass/spool/threads"
	"github.com/litfass/litfass/webforum/past"
	"github.com/litfass/litfass/webforum/ward"
)

// core is a node's data, opened: what the commands work on and the doors of
// serve.go stand on. One process at a time has it.
type core struct {
	cfg   config                 // as at the start
	live  atomic.Pointer[config] // the same, with what was reloaded since
	dir   *dataDir
	host  string
	log   *slog.Logger
	now   func() time.Time
	begin time.Time

	spool   spool.Store
	local   *local.Spool // the same, for what only one disk has: check, expire
	state   *state.DB
	heap    int64 // what the heap is kept under, in octets: large batches are cut to fit
	members *members.Book
	peers   *peerBook
	ward    *ward.Ward
	shown   spool.Store // the spool without what moderators hid: for all who ask for articles
	past    *past.Book  // versions of articles that were replaced
	agent   *agent.Agent

	banned    agent.Banned
	peerQuota *agent.PeerQuota
	usage     *agent.Ledger
	crosspost crossposts
	postRate  *agent.PostRate
	dayQuota  *agent.DayQuota

	keys     *pki.Keyring
	requests *directory.Requests // for statements that this node or others lack
	tls      *tlsid.Identity
	acme     atomic.Pointer[acmeState] // nil: nothing was tried yet
	shut     []func() error            // closes what was opened, last first

	// Set by a running node only.
	followers   *agent.Followers
	peerFigures func(*peerStatusJSON)
	found       func() []discover.Neighbour   // nodes on the links; nil: nobody listens
	threads     atomic.Pointer[threads.Index] // while the forum is open

	lazy     sync.Mutex // of what is opened when first asked for:
	feeds    *syndicate.Poller
	pics     *syndicate.Pictures // made with feeds
	search   searcher
	torrents torrentRoom
	courier  *courier.Courier
}

// logger is what commands and the node report to: warnings only, in commands.
func (c *call) logger(cfg config) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// clock returns the time as the node sees it: shifted by LITFASS_CLOCK_OFFSET.
func clock(getenv func(string) string, log *slog.Logger) (func() time.Time, error) {
	text := getenv("LITFASS_CLOCK_OFFSET")
	if text == "" {
		return time.Now, nil
	}
	off, err := parseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("LITFASS_CLOCK_OFFSET: %w", err)
	}
	log.Warn("the clock is shifted by LITFASS_CLOCK_OFFSET: for tests only", "offset", off)
	return func() time.Time { return time.Now().Add(off) }, nil
}

// openCore takes the data folder and opens everything in it, making it if need
// be. patience is how long to wait for another process to let go of it.
func openCore(ctx context.Context, cfg config, log *slog.Logger, getenv func(string) string, patience time.Duration) (k *core, err error) {
	now, err := clock(getenv, log)
	if err != nil {
		return nil, err
	}
	dir, err := holdData(ctx, cfg.Data, patience)
	if err != nil {
		return nil, err
	}
	k = &core{cfg: cfg, dir: dir, host: cfg.Host, log: log, now: now, begin: now()}
	k.live.Store(&cfg)
	k.heap = heapBound(getenv)
	k.shut = append(k.shut, func() error { dir.release(); return nil })
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
			k = nil
		}
	}()
	if k.host == "" {
		machine, _ := os.Hostname()
		if k.host, err = dir.hostName(machine); err != nil {
			return k, err
		}
	}
	for _, open := range []func(context.Context) error{k.openSpool, k.openAgent, k.openTorrents, k.openKeys, k.openTLS, k.firstRun} {
		if err := open(ctx); err != nil {
			return k, err
		}
	}
	return k, nil
}

// close closes what openCore opened, last first.
func (k *core) close() error {
	var errs []error
	for i := len(k.shut) - 1; i >= 0; i-- {
		errs = append(errs, k.shut[i]())
	}
	k.shut = nil
	return errors.Join(errs...)
}

// conf is the configuration as it holds now.
func (k *core) conf() *config { return k.live.Load() }

func (k *core) limits() article.Limits {
	return article.Limits{Article: int(k.cfg.NNTP.MaxArticle)}
}
