package torrent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/internal/state"
)

// Errors of a Store.
var (
	// ErrNotFound: no such torrent or file is here.
	ErrNotFound = errors.New("no such torrent")
	// ErrDenied is wrapped by every refusal because of the deny list.
	ErrDenied = errors.New("is on this node's deny list")
	// ErrQuota is wrapped where a quota, or the disk, has no room. The text holds the numbers.
	ErrQuota = errors.New("no room")
	// ErrMismatch: right pieces whose SHA-256 is not the one an article promised.
	ErrMismatch = errors.New("the content's SHA-256 is not the one the article promises")
)

// The buckets of state.db that belong to this package.
const (
	bRecord = "torrent"       // infohash: Record
	bInfo   = "torrent-info"  // infohash: the info dictionary
	bSums   = "torrent-sums"  // infohash: SHA-256 of each of its files, 32 octets each
	bBlob   = "torrent-blob"  // SHA-256 + "/" + infohash: who uses these octets
	bRef    = "torrent-ref"   // infohash + "/" + Message-ID: SHA-256 the article names, or nothing
	bDeny   = "torrent-deny"  // infohash or SHA-256: reason
	bPieces = "torrent-piece" // infohash: bits of pieces that are here
	bGone   = "torrent-gone"  // infohash: Unix seconds when somebody here removed it
)

// Store keeps torrents' files, each once per SHA-256, and the index of
// infohashes that point to them. It is safe for concurrent use.
//
// DIR/files/AB/ABCD... is a finished file, named by its SHA-256; DIR/part/INFOHASH/N
// the N-th file of a torrent being fetched; DIR/tmp what is just being added.
// No name from the net is ever part of a path.
type Store struct {
	cfg Config
	db  *state.DB
	fs  disk.FS

	diskSize func(dir string) (int64, error)
	openPart func(path string) (partFile, error) // to write a file that is being fetched

	wmu sync.Mutex // held from reading a record to writing it changed, its files moved or removed

	mu      sync.Mutex
	index   map[Infohash]*Record
	deny    map[string]bool     // hexadecimal infohash or SHA-256
	used    int64               // octets on disk, those promised to running downloads included
	blobs   map[Sum]int64       // octets of each file that is here
	ahead   map[Infohash]*ahead // of each file that is arriving
	onDrop  []func(Infohash)
	changed chan struct{} // closed and replaced when a record's state changes
}

// partFile is a file that is being fetched.
type partFile interface {
	io.WriterAt
	io.Closer
}

func openPart(path string) (partFile, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
}

// Open opens the store below cfg.Dir; the index lies in db.
func Open(db *state.DB, cfg Config) (*Store, error) {
	s := &Store{cfg: cfg.orDefault(), db: db, fs: disk.OS{}, diskSize: disk.OS{}.Size, openPart: openPart, index: map[Infohash]*Record{}, deny: map[string]bool{},
		blobs: map[Sum]int64{}, ahead: map[Infohash]*ahead{}, changed: make(chan struct{})}
	for _, d := range []string{"files", "part", "tmp"} {
		if err := os.MkdirAll(filepath.Join(s.cfg.Dir, d), 0o750); err != nil {
			return nil, fmt.Errorf("make the torrent folder: %w", err)
		}
	}
	s.emptyTmp()
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("read the torrents' index: %w", err)
	}
	return s, nil
}

func (s *Store) emptyTmp() {
	left, _ := os.ReadDir(filepath.Join(s.cfg.Dir, "tmp"))
	for _, f := range left {
		_ = os.Remove(filepath.Join(s.cfg.Dir, "tmp", f.Name()))
	}
}

func (s *Store) load() error {
	return s.db.View(func(tx *state.Tx) error {
		var bad error
		tx.Each(bRecord, "", "", func(key string, v []byte) bool {
			if key == (Infohash{}).String() { // noted before it was refused
				return true
			}
			var r Record
			h, err := ParseInfohash(key)
			if err == nil {
				err = json.Unmarshal(v, &r)
			}
			if err != nil {
				bad = fmt.Errorf("%s: %w", key, err)
				return false
			}
			r.Hash = h
			s.index[h] = &r
			if r.State == Partial {
				s.used += r.Length
			}
			return true
		})
		tx.Each(bBlob, "", "", func(key string, v []byte) bool {
			var n int64
			if sum, err := ParseSum(key[:min(64, len(key))]); err == nil && json.Unmarshal(v, &n) == nil {
				if _, seen := s.blobs[sum]; !seen {
					s.blobs[sum] = n
					s.used += n
				}
			}
			return true
		})
		tx.Each(bDeny, "", "", func(key string, _ []byte) bool {
			s.deny[key] = true
			return true
		})
		return bad
	})
}

// OnDrop has fn called, without locks held, for each torrent that leaves the
// store. To be set before use.
func (s *Store) OnDrop(fn func(Infohash)) { s.onDrop = append(s.onDrop, fn) }

func (s *Store) now() int64 { return s.cfg.Now().Unix() }

// Config returns the configuration with its defaults filled in.
func (s *Store) Config() Config { return s.cfg }

// Record returns what is known of a torrent.
func (s *Store) Record(h Infohash) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deny[h.String()] {
		return Record{}, ErrDenied
	}
	r, ok := s.index[h]
	if !ok {
		return Record{}, ErrNotFound
	}
	return *r, nil
}

// Has says whether all of a torrent is here, and how large it is. It costs one
// look into a map: the tracker asks on every announce.
func (s *Store) Has(h Infohash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.index[h]
	return ok && r.Complete()
}

// List returns all records, newest first.
func (s *Store) List() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Record, 0, len(s.index))
	for _, r := range s.index {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Record) int {
		if a.Added != b.Added {
			return int(min(max(b.Added-a.Added, -1), 1))
		}
		return slices.Compare(a.Hash[:], b.Hash[:])
	})
	return out
}

// Usage returns the octets in use and the quota.
func (s *Store) Usage() (used, quota int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.cfg.Quota
}

// Info returns a torrent's info dictionary, or ErrNotFound while it is not known.
func (s *Store) Info(h Infohash) (*Info, error) {
	var raw []byte
	err := s.db.View(func(tx *state.Tx) error { raw = tx.Get(bInfo, h.String()); return nil })
	if err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, ErrNotFound
	}
	return ParseInfo(raw, s.limits())
}

func (s *Store) limits() Limits { return Limits{Total: s.cfg.MaxSize} }

// Sums returns the SHA-256 of each file of a torrent that is here.
func (s *Store) Sums(h Infohash) ([]Sum, error) {
	var raw []byte
	err := s.db.View(func(tx *state.Tx) error { raw = tx.Get(bSums, h.String()); return nil })
	if err != nil {
		return nil, err
	}
	out := make([]Sum, len(raw)/32)
	for i := range out {
		out[i] = Sum(raw[i*32:])
	}
	if len(out) == 0 {
		return nil, ErrNotFound
	}
	return out, nil
}

// OpenFile opens the i-th file of a torrent that is here, for reading.
func (s *Store) OpenFile(h Infohash, i int) (*os.File, error) {
	if _, err := s.Record(h); err != nil {
		return nil, err
	}
	sums, err := s.Sums(h)
	if err != nil {
		return nil, err
	}
	if i < 0 || i >= len(sums) {
		return nil, ErrNotFound
	}
	f, err := os.Open(s.blobPath(sums[i]))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: its file is gone from the disk", ErrNotFound)
	}
	return f, err
}

func (s *Store) blobPath(sum Sum) string {
	name := sum.String()
	return filepath.Join(s.cfg.Dir, "files", name[:2], name)
}

func (s *Store) partDir(h Infohash) string {
	return filepath.Join(s.cfg.Dir, "part", h.String())
}

// put writes a record and the rest of one change in one transaction, then makes
// it visible. more may be nil.
func (s *Store) put(r Record, more func(tx *state.Tx) error) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *state.Tx) error {
		if more != nil {
			if err := more(tx); err != nil {
				return err
			}
		}
		return tx.Put(bRecord, r.Hash.String(), raw)
	})
	if err != nil {
		return fmt.Errorf("write the torrents' index: %w", err)
	}
	s.mu.Lock()
	s.index[r.Hash] = &r
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	return nil
}

// Changed returns a channel that is closed at the next change of any record.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Add stores what r holds as a torrent of one file and returns once it is on
// disk. length -1: not known, r is then read to its end and hashed from the disk.
// At most limit octets are taken (0: what fits the quotas). progress, if not nil,
// is told how far it is.
func (s *Store) Add(ctx context.Context, r io.Reader, length int64, name string, o Owner, progress func(int64)) (*Info, Sum, error) {
	if o.Class == 0 {
		o.Class = Own
	}
	reserved := max(length, 0)
	if err := s.Reserve(reserved, o); err != nil {
		return nil, Sum{}, err
	}
	defer func() { s.release(reserved) }()
	tmp, err := os.CreateTemp(filepath.Join(s.cfg.Dir, "tmp"), "add-*")
	if err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	defer func() {
		tmp.Close()
		os.Remove(tmp.Name())
	}()
	in, sum, err := s.copyIn(ctx, tmp, r, length, CleanName(name), progress)
	if err != nil {
		return nil, Sum{}, err
	}
	if length < 0 {
		if err := s.Reserve(in.Length, o); err != nil {
			return nil, Sum{}, err
		}
		reserved = in.Length
	}
	if err := s.denied(in.Hash, sum); err != nil {
		return nil, Sum{}, err
	}
	if err := tmp.Sync(); err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	err = s.adopt(in, sum, tmp.Name(), o)
	if err == nil {
		reserved = 0 // counted
	}
	return in, sum, err
}

func (s *Store) copyIn(ctx context.Context, tmp *os.File, r io.Reader, length int64, name string, progress func(int64)) (*Info, Sum, error) {
	src := &meter{ctx: ctx, r: r, told: progress}
	if length >= 0 {
		h := NewHasher(length)
		if err := copyHashed(tmp, h, src); err != nil {
			return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
		}
		return h.Finish(name)
	}
	_, room := s.room()
	n, err := io.CopyBuffer(struct{ io.Writer }{tmp}, io.LimitReader(src, room+1), make([]byte, 64<<10))
	if err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	if n > room {
		return nil, Sum{}, fmt.Errorf("%w: the file is larger than the %d octets that are left", ErrQuota, room)
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return nil, Sum{}, err
	}
	return BuildInfo(tmp, n, name)
}

// meter counts what is read, and stops with its context.
type meter struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	told func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.told != nil {
		m.told(m.n)
	}
	return n, err
}

// adopt files the octets at path, synced and reserved, as the one file of torrent in.
func (s *Store) adopt(in *Info, sum Sum, path string, o Owner) error {
	fetching, err := s.adoptAs(in, sum, path, o)
	if err == nil && fetching {
		s.dropped(in.Hash) // it need not go on
		_ = os.RemoveAll(s.partDir(in.Hash))
	}
	return err
}

// adoptAs is adopt's change of the index. It says whether the torrent was partial.
func (s *Store) adoptAs(in *Info, sum Sum, path string, o Owner) (fetching bool, err error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	now := s.now()
	r := Record{Hash: in.Hash, Name: in.Name, Length: in.Length, State: Verified, Class: o.Class, Pinned: o.Pinned,
		Author: o.Author, Group: o.Group, Added: now, Wanted: now}
	if old, err := s.Record(in.Hash); err == nil {
		r.Refs, r.Added, r.Class, r.Pinned = old.Refs, old.Added, max(old.Class, r.Class), old.Pinned || r.Pinned
		r.WebSeeds, r.Trackers, fetching = old.WebSeeds, old.Trackers, old.State == Partial
	}
	if r.Refs == 0 && r.Class != Cache {
		r.Until = now + int64(unnamedGrace.Seconds())
	}
	err = s.keep(r, in, []Sum{sum}, func(int) string { return path })
	if err == nil && fetching {
		s.release(in.Length) // what the fetch had reserved
	}
	return fetching, err
}

// keep gives the synced files of a torrent, the i-th at path(i), their places, writes
// its record, and counts them in the place of the octets that were reserved for them.
// The caller holds wmu.
func (s *Store) keep(r Record, in *Info, sums []Sum, path func(i int) string) error {
	for i, sum := range sums {
		if err := s.fileBlob(sum, path(i)); err != nil {
			return err
		}
	}
	if err := s.put(r, s.filing(in, sums)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= in.Length
	for i, sum := range sums {
		if _, was := s.blobs[sum]; !was {
			s.blobs[sum] = in.Files[i].Length
			s.used += in.Files[i].Length
		}
	}
	return nil
}

// filing writes the rows of a complete torrent.
func (s *Store) filing(in *Info, sums []Sum) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		var all []byte
		for i, sum := range sums {
			all = append(all, sum[:]...)
			size, _ := json.Marshal(in.Files[i].Length)
			if err := tx.Put(bBlob, sum.String()+"/"+in.Hash.String(), size); err != nil {
				return err
			}
		}
		if err := tx.Put(bInfo, in.Hash.String(), in.Raw); err != nil {
			return err
		}
		for _, b := range []string{bPieces, bGone} {
			if err := tx.Delete(b, in.Hash.String()); err != nil {
				return err
			}
		}
		return tx.Put(bSums, in.Hash.String(), all)
	}
}

// fileBlob gives the synced file at path its place under its SHA-256. Where the
// file system has no links, path is gone afterwards.
func (s *Store) fileBlob(sum Sum, path string) error {
	to := s.blobPath(sum)
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return fmt.Errorf("file a torrent's content: %w", err)
	}
	if err := os.Link(path, to); err != nil && !errors.Is(err, os.ErrExist) {
		if err := os.Rename(path, to); err != nil {
			return fmt.Errorf("file a torrent's content: %w", err)
		}
	}
	for _, d := range []string{filepath.Dir(to), filepath.Dir(filepath.Dir(to))} {
		if err := s.fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// Want notes that somebody wants the torrent now.
func (s *Store) Want(h Infohash) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	now := s.now()
	s.mu.Lock()
	r, ok := s.index[h]
	due := ok && now-r.Wanted >= wantedEvery
	var c Record
	if due {
		c = *r
		c.Wanted = now
	}
	s.mu.Unlock()
	if due {
		_ = s.put(c, nil) // only the order of forgetting hangs on it
	}
}

// Pin keeps a torrent whatever happens, or ends that.
func (s *Store) Pin(h Infohash, on bool) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(h)
	if err != nil {
		return err
	}
	r.Pinned = on
	if on {
		r.Until = 0
	} else if r.Refs == 0 {
		r.Until = s.now() + int64(s.cfg.Grace.Seconds())
	}
	return s.put(r, nil)
}

// hashes returns the infohashes of all that is here or being fetched.
func (s *Store) hashes() []Infohash {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Infohash, 0, len(s.index))
	for h, r := range s.index {
		if r.State > Known {
			out = append(out, h)
		}
	}
	return out
}

// accepted says whether the metadata of a torrent was checked and taken. It holds
// no lock but that of the index, and asks nobody.
func (s *Store) accepted(h Infohash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.index[h]
	return ok && r.State > Known
}

// progress notes that a piece came, in memory: it is written with the next change.
func (s *Store) progress(h Infohash) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.index[h]; ok {
		c := *r
		c.Progress = now
		s.index[h] = &c
	}
}

// Note makes a torrent known that no article names: somebody here gave its magnet.
func (s *Store) Note(m Magnet) error {
	if err := s.denied(m.Hash, Sum{}); err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(m.Hash)
	if err != nil {
		r = Record{Hash: m.Hash, Length: max(m.Length, 0), State: Known, Class: Cache, Added: s.now()}
		r.Until = r.Added + int64(s.cfg.Grace.Seconds())
	}
	if r.Name == "" && m.Name != "" {
		r.Name = CleanName(m.Name)
	}
	if r.State == Known && r.Refs == 0 && m.Length > 0 {
		r.Length = m.Length
	}
	for _, u := range m.WebSeeds {
		r.WebSeeds = addUnique(r.WebSeeds, u)
	}
	for _, u := range m.Trackers {
		r.Trackers = addUnique(r.Trackers, u)
	}
	return s.put(r, nil)
}

// NoteFile makes a torrent known of which somebody here has the .torrent file, and
// finds room for it.
func (s *Store) NoteFile(b []byte) (Infohash, error) {
	m, err := ParseMetainfo(b, s.limits())
	if err != nil {
		return Infohash{}, err
	}
	in := m.Info
	err = s.Note(Magnet{Hash: in.Hash, Name: in.Name, Length: in.Length, Trackers: m.Trackers, WebSeeds: m.WebSeeds})
	if err != nil {
		return Infohash{}, err
	}
	return in.Hash, s.begin(in, Cache)
}

func addUnique(list []string, s string) []string {
	if slices.Contains(list, s) || len(list) >= urlsMax {
		return list
	}
	return append(slices.Clip(list), s)
}

// begin makes a known torrent a partial one: its metadata is checked, room is
// found for all of it, and only then anything touches the disk (spec §4).
func (s *Store) begin(in *Info, class Class) error {
	r, err := s.Record(in.Hash)
	if err != nil {
		return err
	}
	if r.State >= Partial {
		return nil
	}
	if r.Refs > 0 && r.Length > 0 && r.Length != in.Length { // of a magnet link alone, the metadata knows better
		return badInfo("it is %d octets long, the article says %d", in.Length, r.Length)
	}
	if class == Mirror && in.Length > s.cfg.MaxAuto {
		return fmt.Errorf("%w: %d octets, unasked %d are fetched (torrent.max_auto)", ErrQuota, in.Length, s.cfg.MaxAuto)
	}
	if in.Length > s.cfg.MaxSize {
		return badInfo("%d octets, the limit is %d (torrent.max_size)", in.Length, s.cfg.MaxSize)
	}
	if err := s.Reserve(in.Length, Owner{Group: r.Group}); err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err = s.Record(in.Hash)
	if err == nil && class == Mirror && s.gone(in.Hash) {
		err = errGone
	}
	if err != nil || r.State >= Partial {
		s.release(in.Length)
		return err
	}
	r.State, r.Length, r.Wanted, r.Class = Partial, in.Length, s.now(), max(r.Class, class)
	if r.Name == "" {
		r.Name = CleanName(in.Name)
	}
	err = s.put(r, func(tx *state.Tx) error {
		if err := tx.Delete(bGone, in.Hash.String()); err != nil { // somebody asked for it
			return err
		}
		return tx.Put(bInfo, in.Hash.String(), in.Raw)
	})
	if err != nil {
		s.release(in.Length)
	}
	return err
}

// finish files a fetched torrent: its files' SHA-256 are compared with what
// articles promise before anything is called verified or given to anybody
// (spec §1.5). A mismatch removes everything.
func (s *Store) finish(ctx context.Context, in *Info) error {
	sums := make([]Sum, len(in.Files))
	for i, f := range in.Files {
		sum, err := s.hashPart(ctx, in.Hash, i, f.Length)
		if err != nil {
			return fmt.Errorf("check torrent %s: %w", in.Hash, err)
		}
		sums[i] = sum
		if err := s.denied(in.Hash, sum); err != nil {
			return errors.Join(err, s.Remove(in.Hash))
		}
	}
	good := s.promised(in.Hash, sums)
	if !good && s.claimed(in.Hash) {
		err := s.Remove(in.Hash)
		s.wmu.Lock()
		defer s.wmu.Unlock()
		if r, rerr := s.Record(in.Hash); rerr == nil {
			r.Actual = sums[0].String()
			err = errors.Join(err, s.put(r, nil))
		}
		return errors.Join(ErrMismatch, err)
	}
	if err := s.complete(in, sums, good); err != nil {
		return err
	}
	_ = os.RemoveAll(s.partDir(in.Hash)) // empty now
	return nil
}

// complete makes a partial torrent one that is here.
func (s *Store) complete(in *Info, sums []Sum, good bool) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(in.Hash)
	switch {
	case err != nil:
		return err
	case r.Complete(): // added meanwhile
		return nil
	case r.State != Partial: // removed meanwhile; an article still names it
		return ErrNotFound
	}
	r.State, r.Progress = Here, s.now()
	if good {
		r.State = Verified
	}
	if err := s.keep(r, in, sums, func(i int) string { return s.partPath(in.Hash, i) }); err != nil {
		return err
	}
	return s.recheck(r)
}

func (s *Store) hashPart(ctx context.Context, h Infohash, i int, length int64) (sum Sum, err error) {
	f, err := os.OpenFile(s.partPath(h, i), os.O_RDWR|os.O_CREATE, 0o640) // a file of no octets was never written
	if err != nil {
		return sum, err
	}
	defer f.Close()
	synced := make(chan error, 1)
	go func() { synced <- f.Sync() }()
	w, at := s.hashed(h, i)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, &meter{ctx: ctx, r: io.NewSectionReader(f, at, math.MaxInt64-at)}, make([]byte, copyBlock))
	if serr := <-synced; err == nil {
		err = serr
	}
	if err != nil {
		return sum, err
	}
	if at+n != length {
		return sum, fmt.Errorf("file %d has %d octets instead of %d", i, at+n, length)
	}
	return Sum(w.Sum(nil)), nil
}

// refuted says that the torrent was fetched once and no article names what it holds.
func (s *Store) refuted(r Record) bool {
	sum, err := ParseSum(r.Actual)
	return err == nil && !s.promised(r.Hash, []Sum{sum})
}
