package local

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

// Config says where a spool lies and how large it may grow. Only Dir is needed.
type Config struct {
	Dir         string        // folder of the spool; made if missing
	Quota       int64         // octets on disk in all; 0: until the disk is full
	Keep        time.Duration // expire after, for groups that say nothing; 0: when room is needed
	KeepMin     time.Duration // nothing younger is dropped for room; 0: 24 h; negative: none
	Remember    time.Duration // how long after its arrival an id is known; 0: 90 days
	SegmentSize int64         // octets of a segment; 0: a 64th of Quota, 1 to 64 MiB (more above 16 GiB); at most 1 GiB
	TailMax     int           // articles not yet in the index, kept in memory; 0: 8,192; at least 16
	MaxArticles int           // articles at most; 0: no limit, on 32-bit 1,500,000 (the index is mapped)
	Reserve     int64         // octets that stay free on the disk; 0: 8 MiB
	FS          disk.FS       // nil: the real disk. The index lies in Dir on the real disk always
	Now         func() time.Time
	Log         *slog.Logger
	Progress    Progress // told while the log is gone through to bring the index up to it; nil: nobody

	indexDir string // tests keep index.db elsewhere; "": Dir
	noSync   bool   // tests do not sync index.db: it is lost by no kill
}

// Progress is told, after each article, how far long work on the log is: the
// octets read, of how many in all, and the articles in them.
type Progress func(octets, of int64, articles int)

// ErrLocked is returned by Open while another process holds the spool.
var ErrLocked = errors.New("the spool is in use by another process: stop the running node, or talk to it through its control socket")

const (
	maxBatch      = 64      // records of one group commit
	maxBatchBytes = 4 << 20 // and its octets, unless one article is larger
	tailBytes     = 4 << 20 // octets of rows after which a tail is written to the index
	tailAge       = 5 * time.Second
)

func (c Config) orDefault() Config {
	if c.KeepMin == 0 {
		c.KeepMin = 24 * time.Hour
	}
	if c.Remember <= 0 {
		c.Remember = 90 * 24 * time.Hour
	}
	if c.SegmentSize <= 0 {
		c.SegmentSize = 64 << 20
		if c.Quota > 0 {
			c.SegmentSize = min(max(c.Quota/64, 1<<20), max(64<<20, c.Quota/256))
		}
	}
	c.SegmentSize = min(c.SegmentSize, 1<<30)
	if c.TailMax <= 0 {
		c.TailMax = 8192
	}
	c.TailMax = max(c.TailMax, 16)
	if c.MaxArticles == 0 && strconv.IntSize == 32 {
		c.MaxArticles = 1_500_000
	}
	if c.Reserve == 0 {
		c.Reserve = 8 << 20
	}
	if c.indexDir == "" {
		c.indexDir = c.Dir
	}
	if c.FS == nil {
		c.FS = disk.OS{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Progress == nil {
		c.Progress = func(int64, int64, int) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Spool is a spool on one disk. It implements spool.Store.
type Spool struct {
	cfg  Config
	fs   disk.FS
	log  *slog.Logger
	id   string
	lock io.Closer

	mu      sync.RWMutex // guards what follows up to the blank line
	closed  bool
	db      *bolt.DB
	live    *tail
	frozen  *tail // nil: none
	groups  map[article.Group]*group
	sorted  atomic.Pointer[[]*group] // groups by name; nil: to be made
	byGid   map[uint32]*group
	marks   map[article.Group]uint64 // high marks of removed groups
	segs    []*segment               // in order of number; replaced, not changed
	chains  [][]*segment             // the same, those of each class together
	shards  []*shard                 // oldest first; replaced, not changed
	last    spool.Seq
	recent  recent
	changed chan struct{} // closed and replaced when something arrives
	ckptErr error         // what the last checkpoint failed with
	thawed  *sync.Cond    // on mu: frozen or ckptErr changed

	lookups     lookups
	queue       queue
	meta        *metaLog
	nextGid     uint32 // committer only, as what follows
	metaDone    uint64 // last act of the meta log that is wholly done
	nextShard   uint32 // keeper only
	nextSeg     uint32 // number of the next segment
	buf         []byte
	droppedSegs map[uint32]bool   // by the meta log
	pending     *metaRec          // an act that stands in the meta log and could not be done yet
	replaying   bool              // the committer does not run yet
	rebuild     bool              // replaying into an empty index
	lazyLow     bool              // low marks are settled later
	noted       map[uint32]uint64 // low marks that stand in the meta log
	orphans     bool              // replaying without a meta log: groups are found in the articles

	articles  atomic.Int64
	bytes     atomic.Int64 // of live records
	indexSize atomic.Int64
	idsSize   atomic.Int64
	metaSize  atomic.Int64
	ckptMu    sync.Mutex // one checkpoint at a time
	kick      chan struct{}
	stop      chan struct{}
	wg        sync.WaitGroup
}

type group struct {
	gid  uint32
	info spool.GroupInfo
	gone bool // removed: only who goes through a list still has it
}

var _ spool.Store = (*Spool)(nil)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Open opens or makes the spool in cfg.Dir. It replays what the index does not
// hold yet, and rebuilds the index if it is missing, damaged or another spool's.
func Open(cfg Config) (*Spool, error) {
	cfg = cfg.orDefault()
	s := &Spool{cfg: cfg, fs: cfg.FS, log: cfg.Log, changed: make(chan struct{}), kick: make(chan struct{}, 1), stop: make(chan struct{}), nextGid: 1}
	s.thawed = sync.NewCond(&s.mu)
	s.queue.init()
	s.reset()
	if err := s.open(); err != nil {
		s.release()
		return nil, fmt.Errorf("open spool %s: %w", cfg.Dir, err)
	}
	s.wg.Go(s.keep)
	s.queue.wg.Go(s.commitLoop)
	return s, nil
}

// reset empties what is rebuilt from index and log.
func (s *Spool) reset() {
	s.live, s.frozen = newTail(), nil
	s.groups, s.byGid, s.marks = map[article.Group]*group{}, map[uint32]*group{}, map[article.Group]uint64{}
	s.shards, s.nextShard, s.nextGid, s.metaDone = nil, 1, 1, 0
	s.noted = map[uint32]uint64{}
	s.articles.Store(0)
	s.bytes.Store(0)
}

func (s *Spool) open() error {
	if err := (disk.OS{}).MkdirAll(s.cfg.Dir); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(s.cfg.Dir); err != nil {
		return err
	}
	lock, err := s.fs.Lock(filepath.Join(s.cfg.Dir, "lock"))
	if errors.Is(err, disk.ErrLocked) {
		return ErrLocked
	} else if err != nil {
		return err
	}
	s.lock = lock
	if err := s.fs.SyncDir(s.cfg.Dir); err != nil { // names that a killed process made
		return err
	}
	acts, err := s.openLog()
	if err != nil {
		return err
	}
	if err := s.measure(); err != nil {
		return err
	}
	return s.openIndex(acts)
}

// openLog opens meta log and segments.
func (s *Spool) openLog() ([]metaRec, error) {
	l, acts, err := openMeta(s.fs, s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	s.meta, s.id = l, l.id
	if err := s.openSegments(acts); err != nil {
		return nil, err
	}
	if l.id == "" {
		if s.id == "" {
			s.id = newID()
		}
		s.orphans = len(s.segs) > 0
		if s.orphans {
			s.log.Warn("the spool's meta log is missing: groups are found again in the articles; descriptions, empty groups and removals are lost")
		}
		l.id = s.id
		if err := l.rewrite(nil); err != nil {
			return nil, err
		}
	}
	return acts, nil
}

// measure finds out how large the small files are.
func (s *Spool) measure() error {
	s.metaSize.Store(s.meta.size)
	nums, err := s.idFiles()
	if err != nil {
		return err
	}
	for _, n := range nums {
		f, err := s.fs.Open((&segment{num: n, dir: s.cfg.Dir}).side("ids"), false)
		if err != nil {
			return err
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return err
		}
		s.idsSize.Add(size)
	}
	return nil
}

func newID() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// Close writes the tail to the index and closes all files. Calls after it, and
// those waiting, get spool.ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.changed)
	s.mu.Unlock()
	s.queue.close() // what is queued is still done
	err := s.flush()
	close(s.stop)
	s.wg.Wait()
	if err == nil {
		err = s.storeFilters()
	}
	s.release()
	return err
}

func (s *Spool) release() {
	if s.db != nil {
		s.lookups.pause() // for good
		s.db.Close()
	}
	for _, g := range s.segs {
		g.close()
	}
	if s.meta != nil && s.meta.file != nil {
		s.meta.file.Close()
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// SetLimits replaces Quota, Keep, KeepMin and Remember of the configuration; zeros
// mean what they mean there. Segments stay as large as they are.
func (s *Spool) SetLimits(ctx context.Context, c Config) error {
	c = c.orDefault()
	return s.exclusive(ctx, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cfg.Quota, s.cfg.Keep, s.cfg.KeepMin, s.cfg.Remember = c.Quota, c.Keep, c.KeepMin, c.Remember
		return nil
	})
}

// SpoolID implements spool.Store.
func (s *Spool) SpoolID() string { return s.id }

// rlock takes s.mu for reading, unless ctx is done or the spool is closed.
func (s *Spool) rlock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return spool.ErrClosed
	}
	return nil
}

// queue is what waits for the committer.
type queue struct {
	mu     sync.Mutex
	more   *sync.Cond
	reqs   []*request
	spare  []*request
	closed bool
	wg     sync.WaitGroup
}

// request is one act asked of the committer.
type request struct {
	art  *article.Article // Add
	in   spool.Arrival
	hash hash
	path []string

	act func() error // anything else: runs alone

	rec  record
	rows []pendRow
	err  error
	done chan struct{}
}

type pendRow struct {
	g      *group
	number uint64
	row    []byte
}

func (q *queue) init() { q.more = sync.NewCond(&q.mu) }

// put queues r and waits until it is done.
func (q *queue) put(r *request) error {
	r.done = make(chan struct{})
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return spool.ErrClosed
	}
	q.reqs = append(q.reqs, r)
	if len(q.reqs) == 1 {
		q.more.Signal()
	}
	q.mu.Unlock()
	<-r.done
	return r.err
}

// take waits for requests and returns all there are; nil when closed and empty.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.reqs) == 0 && !q.closed {
		q.more.Wait()
	}
	out := q.reqs
	q.reqs, q.spare = q.spare[:0], out
	return out
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.more.Signal()
	q.mu.Unlock()
	q.wg.Wait()
}

// exclusive runs act in the committer: nothing else changes meanwhile.
func (s *Spool) exclusive(ctx context.Context, act func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.queue.put(&request{act: act})
}
