package torrent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
func (s *Store) Note(m Magnet) error { return s.note(m, false) }

// note is Note; private says that m is of the .torrent file of a private torrent: nobody
// else names trackers of such a one.
func (s *Store) note(m Magnet, private bool) error {
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
	if private {
		r.Private, r.Trackers = true, nil
	}
	if private || !r.Private {
		for _, u := range m.Trackers {
			r.Trackers = addUnique(r.Trackers, u)
		}
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
	err = s.note(Magnet{Hash: in.Hash, Name: in.Name, Length: in.Length, Trackers: m.Trackers, WebSeeds: m.WebSeeds}, in.Private)
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
