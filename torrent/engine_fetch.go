package torrent

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	bt "github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/bencode"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/types/infohash"
)

// ErrNoMetadata: nobody gave the torrent's metadata in time. Later may help.
var ErrNoMetadata = errors.New("nobody who has this torrent was found yet")

// job fetches one torrent. Its goroutine belongs to the engine.
type job struct {
	e      *Engine
	h      Infohash
	class  Class
	ctx    context.Context
	cancel context.CancelFunc
	t      *bt.Torrent
	ready  chan struct{} // closed when pieces can be read, or with done
	done   chan struct{} // closed at the end
	in     *Info         // set before ready is closed
	err    error         // set before done is closed

	web     []string             // web seeds not in use yet
	moved   time.Time            // when the last octet came
	have    int64                // octets of data read so far
	silent  map[*bt.PeerConn]lag // per peer
	sources chan []byte          // info dictionaries that came over HTTP, or from peers
	again   chan struct{}        // trackers are to be asked now
}

// lag is what a peer has given, since when it is no more, and when the peer came.
type lag struct {
	octets     int64
	since, met time.Time
}

// Start begins to fetch a torrent that the store knows, or joins who fetches it
// already; of one that is here it is a no-op. It does not wait.
func (e *Engine) Start(h Infohash, class Class) error {
	_, err := e.start(h, class)
	return err
}

func (e *Engine) start(h Infohash, class Class) (*job, error) {
	e.starting.Lock()
	defer e.starting.Unlock()
	r, err := e.store.Record(h)
	if err != nil {
		return nil, err
	}
	if r.Complete() {
		return nil, nil
	}
	if e.store.refuted(r) {
		return nil, ErrMismatch
	}
	if r.Never && !r.Pinned {
		return nil, fmt.Errorf("%w: its group's policy is to fetch nothing", ErrNotFound)
	}
	e.mu.Lock()
	if a, ok := e.active[h]; ok && a.job != nil {
		j := a.job // read under the lock: run forgets it at its end
		e.mu.Unlock()
		return j, nil
	}
	e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, e.ctx.Err()
	}
	j := &job{e: e, h: h, class: class, ready: make(chan struct{}), done: make(chan struct{}),
		silent: map[*bt.PeerConn]lag{}, sources: make(chan []byte, 1), again: make(chan struct{}, 1), web: e.usable(r.WebSeeds)}
	j.ctx, j.cancel = context.WithCancel(e.ctx)
	opts := bt.AddTorrentOpts{InfoHash: infohash.T(h), DeferStorageOpen: true}
	if in, err := e.store.Info(h); err == nil {
		opts.InfoBytes = in.Raw
	}
	j.t = e.enter(h, opts, j)
	e.wg.Add(1)
	go j.run()
	return j, nil
}

// usable leaves out this node's own addresses: it cannot be its own web seed.
func (e *Engine) usable(seeds []string) (out []string) {
	own := e.store.cfg.URL
	for _, s := range seeds {
		if u, err := url.Parse(s); err == nil && u.Scheme != "udp" && (own == "" || !strings.HasPrefix(s, own+"/")) {
			out = append(out, s)
		}
	}
	return out
}

func (j *job) run() {
	defer j.e.wg.Done()
	err := j.fetch()
	if err != nil && j.ctx.Err() == nil {
		j.e.cfg.Log.Info("torrent: fetch", "infohash", j.h, "error", err)
	}
	e := j.e
	e.mu.Lock()
	a, ok := e.active[j.h]
	mine := ok && a.job == j
	if mine {
		a.job = nil
		if err != nil {
			delete(e.active, j.h)
		}
	}
	e.mu.Unlock()
	if mine && err != nil {
		j.t.Drop()
	}
	j.cancel()
	j.err = err
	close(j.done)
	select {
	case <-j.ready:
	default:
		close(j.ready)
	}
}

func (j *job) fetch() error {
	unread := j.t.Info() == nil
	var sub = make(chan struct{})
	defer func() { <-sub }()
	ctx, cancel := context.WithCancel(j.ctx)
	defer cancel()
	go func() { // asks trackers and origins while the fetch goes on
		defer close(sub)
		j.discover(ctx)
	}()
	if err := j.metadata(); err != nil {
		return err
	}
	if err := j.e.store.begin(j.in, j.class); err != nil {
		return err
	}
	if unread && j.in.Private {
		j.seclude()
	}
	if err := j.t.OpenStorage(j.ctx, nil); err != nil {
		return fmt.Errorf("open the storage of %s: %w", j.h, err)
	}
	failed := make(chan error, 1)
	j.t.SetOnWriteChunkError(func(err error) { // the default would ask for the block again, for ever
		j.t.DisallowDataDownload()
		select {
		case failed <- err:
		default:
		}
	})
	j.t.DownloadAll()
	close(j.ready)
	if err := j.transfer(failed); err != nil {
		return err
	}
	return j.e.store.finish(j.ctx, j.in)
}

// seclude sends away whoever was found before the torrent was known to be private (BEP
// 27): others than its own trackers named them, and the engine tells them of each other.
func (j *job) seclude() {
	for _, pc := range j.t.PeerConns() {
		_ = pc.Close()
	}
	select {
	case j.again <- struct{}{}:
	default:
	}
}

// searchFor is how long a torrent is looked for of which there is no metadata.
const searchFor = 30 * time.Minute

// metadata waits for the info dictionary, from peers or from the origin, and
// checks it before any storage is opened.
func (j *job) metadata() error {
	wait := time.NewTimer(searchFor)
	defer wait.Stop()
	if j.t.Info() == nil {
		g := &gathered{h: j.h, out: j.sources}
		j.e.unread.Store(j.h, g)
		defer j.e.unread.CompareAndDelete(j.h, g)
	}
	for {
		select {
		case <-j.ctx.Done():
			return j.ctx.Err()
		case <-wait.C:
			return ErrNoMetadata
		case raw := <-j.sources:
			if _, err := takeInfo(raw, j.e.store.limits()); err != nil { // no other dictionary has this infohash
				return err
			}
			if err := j.t.SetInfoBytes(raw); err != nil {
				j.e.cfg.Log.Info("torrent: metadata", "infohash", j.h, "error", err)
			}
		case <-j.t.GotInfo():
			in, err := ParseInfo(j.t.Metainfo().InfoBytes, j.e.store.limits())
			if err != nil {
				return err
			}
			if in.Hash != j.h {
				return badInfo("it belongs to another infohash")
			}
			j.in = in
			return nil
		}
	}
}

// takeInfo is ParseInfo of what is to be fetched: the engine must be able to read it, too,
// for it says nothing of what it cannot read and waits for another peer's.
func takeInfo(raw []byte, lim Limits) (*Info, error) {
	in, err := ParseInfo(raw, lim)
	if err != nil {
		return nil, err
	}
	var theirs metainfo.Info
	if err := bencode.Unmarshal(raw, &theirs); err != nil {
		return nil, badInfo("%.200v", err)
	}
	return in, nil
}

// transfer watches the download until all is here.
func (j *job) transfer(failed <-chan error) error {
	tick := time.NewTicker(min(j.e.cfg.Stall/4, time.Second))
	defer tick.Stop()
	j.moved = time.Now()
	began := j.moved
	for {
		select {
		case <-j.ctx.Done():
			return j.ctx.Err()
		case err := <-failed:
			return fmt.Errorf("%w: write to the disk: %w", ErrQuota, err)
		case <-j.t.Complete().On():
			return nil
		case now := <-tick.C:
			j.guard(now, began)
		}
	}
}

// guard sends away peers that give nothing, and turns to web seeds where peers
// give nothing at all (spec §5). transmission 3.00 does not answer a Cancel; the
// engine then waits for its blocks for ever.
func (j *job) guard(now, began time.Time) {
	stats := j.t.Stats()
	if n := stats.BytesReadUsefulData.Int64(); n != j.have {
		j.have, j.moved = n, now
	}
	conns := j.t.PeerConns()
	next := make(map[*bt.PeerConn]lag, len(conns))
	for _, pc := range conns {
		st := pc.Stats()
		l, ok := j.silent[pc]
		if !ok {
			l.met, l.since = now, now
		}
		if n := st.BytesReadData.Int64(); n != l.octets {
			l.octets, l.since = n, now
		}
		next[pc] = l
		if now.Sub(l.since) >= j.e.cfg.Stall && st.RemotePieceCount > 0 {
			j.e.cfg.Log.Debug("torrent: a peer gives nothing", "infohash", j.h)
			_ = pc.Close()
			delete(next, pc)
		}
	}
	j.silent = next
	j.settle(now)
	alone := len(conns) == 0 && now.Sub(began) >= min(2*time.Second, j.e.cfg.Patience)
	if len(j.web) > 0 && (alone || now.Sub(j.moved) >= j.e.cfg.Patience) {
		j.t.AddWebSeeds(j.web)
		j.web = nil
	}
}

// settle ends the second connection to a peer: both had dialled at one moment. Not at
// once, as aria2 does (and as the engine would): each end might close another one, and
// aria2 then bars our address. Only who fetches does so; of two nodes that both fetch,
// both close the same one.
func (j *job) settle(now time.Time) {
	best := map[bt.PeerID]*bt.PeerConn{}
	for pc, l := range j.silent {
		if now.Sub(l.met) < j.e.cfg.crossed {
			continue
		}
		other, double := best[pc.PeerID]
		if !double || j.prefers(pc, other) {
			best[pc.PeerID], pc = pc, other
		}
		if double {
			_ = pc.Close()
		}
	}
}

// prefers says which of two connections to one peer stays, as both ends see it: that
// of the smaller peer id's dialling, then IPv6, then the one that was there first.
func (j *job) prefers(a, b *bt.PeerConn) bool {
	own := j.e.cl.PeerID()
	dials := bytes.Compare(own[:], a.PeerID[:]) < 0
	right := func(pc *bt.PeerConn) bool { return dials == (pc.Discovery != bt.PeerSourceIncoming) }
	six := func(pc *bt.PeerConn) bool {
		at, err := netip.ParseAddrPort(pc.RemoteAddr.String())
		return err == nil && !at.Addr().Unmap().Is4()
	}
	if right(a) != right(b) {
		return right(a)
	}
	if six(a) != six(b) {
		return six(a)
	}
	return j.silent[a].met.Before(j.silent[b].met)
}

// trackers are those of the mesh, the torrent's own, and the origin's; of a private one
// its own.
func (j *job) trackers(r Record) []string {
	if r.Private {
		return r.Trackers
	}
	urls := slices.Clone(j.e.cfg.Trackers)
	for _, u := range r.Trackers {
		urls = addUnique(urls, u)
	}
	for _, o := range j.origins(r) {
		urls = addUnique(urls, o+"/announce")
	}
	return urls
}

// discover finds peers at this node's own tracker and at the others, until the context
// ends.
func (j *job) discover(ctx context.Context) {
	needInfo := j.t.Info() == nil
	for {
		r, err := j.e.store.Record(j.h)
		if err != nil {
			return
		}
		urls := j.trackers(r)
		if j.e.cfg.Peers != nil && !r.elsewhere(j.e.store.cfg.URL) {
			j.addPeers(j.e.cfg.Peers(j.h))
		}
		found := make(chan struct{})
		for _, u := range urls {
			go func() {
				defer func() { found <- struct{}{} }()
				actx, cancel := context.WithTimeout(ctx, 15*time.Second)
				defer cancel()
				if peers, err := j.e.announce(actx, u, j.h, j.left(r)); err == nil {
					j.addPeers(peers)
				}
			}()
		}
		if needInfo {
			needInfo = !j.fromOrigin(ctx, r)
		}
		for range urls {
			<-found
		}
		every := 30 * time.Second
		if len(j.t.PeerConns()) == 0 {
			every = 5 * time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-j.again:
		case <-time.After(every):
		}
	}
}

// left is what a tracker is told to be missing.
func (j *job) left(r Record) int64 {
	have := int64(0)
	if j.e.store.accepted(j.h) { // before, the engine must not be asked: see quarantine
		have = j.t.BytesCompleted()
	}
	return max(r.Length-have, 1)
}

// origins returns the nodes that the magnet's web seeds are on: those of the
// form NODE/t/INFOHASH/... have a tracker and the metainfo at known places.
func (j *job) origins(r Record) (out []string) {
	for _, s := range j.e.usable(r.WebSeeds) {
		if base, _, ok := strings.Cut(s, "/t/"+j.h.String()+"/"); ok {
			out = append(out, base)
		}
	}
	return out
}

// fromOrigin asks the origin for the metainfo.
func (j *job) fromOrigin(ctx context.Context, r Record) bool {
	for _, o := range j.origins(r) {
		actx, cancel := context.WithTimeout(ctx, 15*time.Second)
		raw, err := j.e.get(actx, o+"/t/"+j.h.String()+".torrent", Limits{}.MetainfoMax())
		cancel()
		if err != nil {
			continue
		}
		_, info, err := rawInfo(raw, j.e.store.limits())
		if err != nil || Infohash(sha1.Sum(info.raw)) != j.h {
			continue
		}
		select {
		case j.sources <- info.raw:
		default:
		}
		return true
	}
	return false
}

// get reads at most max octets from a URL.
func (e *Engine) get(ctx context.Context, u string, max int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", webSeedAgent)
	res, err := e.web.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", u, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("get %s: over %d octets", u, max)
	}
	return b, err
}

// Fetch fetches all of a torrent and returns when it is here and checked.
func (e *Engine) Fetch(ctx context.Context, h Infohash, class Class) error {
	j, err := e.start(h, class)
	if err != nil || j == nil {
		return err
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Metadata returns a torrent's info dictionary; of one that is not here yet it
// waits for it, at most EngineConfig.Metadata, and so begins to fetch it.
func (e *Engine) Metadata(ctx context.Context, h Infohash) (*Info, error) {
	if in, err := e.store.Info(h); err == nil || !errors.Is(err, ErrNotFound) {
		return in, err
	}
	j, err := e.start(h, Cache)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return e.store.Info(h)
	}
	return j.wait(ctx)
}

func (j *job) wait(ctx context.Context) (*Info, error) {
	timer := time.NewTimer(j.e.cfg.Metadata)
	defer timer.Stop()
	select {
	case <-j.ready:
	case <-timer.C:
		return nil, ErrNoMetadata
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-j.done:
		if j.err != nil {
			return nil, j.err
		}
	default:
	}
	return j.in, nil
}

// readAhead is how much beyond a read is asked for at once (spec §3).
const readAhead = 1 << 20

// OpenFile opens the i-th file of a torrent for reading. Of one that is not here
// the octets are read while they arrive, those asked for first; every piece is
// checked before it is given out. ctx ends waiting reads.
func (e *Engine) OpenFile(ctx context.Context, h Infohash, i int) (io.ReadSeekCloser, error) {
	e.store.Want(h)
	if e.store.Has(h) {
		return e.store.OpenFile(h, i)
	}
	j, err := e.start(h, Cache)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return e.store.OpenFile(h, i)
	}
	if _, err := j.wait(ctx); err != nil {
		return nil, err
	}
	files := j.t.Files()
	if i < 0 || i >= len(files) {
		return nil, ErrNotFound
	}
	r := files[i].NewReader()
	r.SetReadahead(readAhead)
	return &Arriving{r: r, ctx: ctx}, nil
}

// Resume goes on with what was being fetched when the node last stopped.
func (e *Engine) Resume() {
	for _, r := range e.store.List() {
		if r.State == Partial {
			if err := e.Start(r.Hash, r.Class); err != nil {
				e.cfg.Log.Warn("torrent: resume", "infohash", r.Hash, "error", err)
			}
		}
	}
}

// Arriving reads a file while its octets arrive. One goroutine may use it.
type Arriving struct {
	r        bt.Reader
	ctx      context.Context
	patience time.Duration
}

// SetPatience bounds how long a Read waits; by default for ever.
func (a *Arriving) SetPatience(d time.Duration) { a.patience = d }

// Read returns what is there, or waits; it fails with the context's error.
func (a *Arriving) Read(p []byte) (int, error) {
	if a.patience <= 0 {
		return a.r.ReadContext(a.ctx, p)
	}
	ctx, cancel := context.WithTimeout(a.ctx, a.patience)
	defer cancel()
	return a.r.ReadContext(ctx, p)
}

// Seek moves what is asked for first.
func (a *Arriving) Seek(off int64, whence int) (int64, error) { return a.r.Seek(off, whence) }

// Close ends the wish for these octets.
func (a *Arriving) Close() error { return a.r.Close() }
