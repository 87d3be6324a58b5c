package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Errors of this package.
var (
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrLocked is wrapped by Open if another process has the database open.
	ErrLocked = errors.New("is in use by another litfass process: stop that one, or let the command talk to it through control.sock")
)

// lockWait is how long Open waits for another process to let go: a restart
// overlaps by less.
const lockWait = 2 * time.Second

// DB is an open database. It is safe for concurrent use.
type DB struct {
	b *bbolt.DB
}

// Open opens state.db, or makes it. A damaged file is an error: it holds what
// cannot be rebuilt.
func Open(path string) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make folder of %s: %w", filepath.Base(path), err)
	}
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout: lockWait, FreelistType: bbolt.FreelistMapType, PageSize: 4096,
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", path, ErrLocked)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("open %s: %w: run as the user that owns the data folder", path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w: if the file is damaged, put back a copy made by `litfass backup`", path, err)
	}
	b.MaxBatchDelay = 2 * time.Millisecond // what one lone writer waits for company
	return &DB{b}, nil
}

// OpenCache opens cache.db, or makes it. A damaged file is put aside (".bad")
// and made anew: fresh is then true, also where there was none.
func OpenCache(path string) (db *DB, fresh bool, err error) {
	_, statErr := os.Stat(path)
	fresh = errors.Is(statErr, os.ErrNotExist)
	db, err = Open(path)
	if err == nil || errors.Is(err, ErrLocked) || errors.Is(err, os.ErrPermission) || fresh {
		return db, fresh, err
	}
	if err := os.Rename(path, path+".bad"); err != nil {
		return nil, false, fmt.Errorf("put the damaged %s aside: %w", filepath.Base(path), err)
	}
	db, err = Open(path)
	return db, true, err
}

// Close waits for transactions that are under way.
func (d *DB) Close() error { return d.b.Close() }

// Backup writes a consistent copy of the file to path (made, mode 0600) and
// syncs it, while others go on.
func (d *DB) Backup(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = d.b.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(f)
		return err
	})
	return errors.Join(err, f.Sync(), f.Close())
}

// Size is the size of the file in octets.
func (d *DB) Size() int64 {
	var n int64
	_ = d.b.View(func(tx *bbolt.Tx) error { n = tx.Size(); return nil })
	return n
}

// Tx is one transaction: all of its writes happen, or none.
type Tx struct{ tx *bbolt.Tx }

// View runs f on one consistent state. It holds pages: f must be quick and must
// not wait for anything, least of all for Update.
func (d *DB) View(f func(*Tx) error) error {
	return d.b.View(func(tx *bbolt.Tx) error { return f(&Tx{tx}) })
}

// Update runs f and syncs. Calls at the same time are run together; f may
// therefore run more than once and must have no other effects than its writes.
func (d *DB) Update(f func(*Tx) error) error {
	return d.b.Batch(func(tx *bbolt.Tx) error { return f(&Tx{tx}) })
}

// Get returns a copy of a value, or nil.
func (t *Tx) Get(bucket, key string) []byte {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	v := b.Get([]byte(key))
	if v == nil {
		return nil
	}
	return append([]byte{}, v...)
}

// Put writes a value. Keys have 1 to 32,768 octets.
func (t *Tx) Put(bucket, key string, value []byte) error {
	b, err := t.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return b.Put([]byte(key), value)
}

// Delete removes a key; one that is not there is no error.
func (t *Tx) Delete(bucket, key string) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}

// Each calls f for the keys that begin with prefix and are not below from, in
// order, until f returns false. What f gets is valid only until it returns; f
// must not write.
func (t *Tx) Each(bucket, prefix, from string, f func(key string, value []byte) bool) {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return
	}
	c := b.Cursor()
	for k, v := c.Seek([]byte(max(prefix, from))); k != nil; k, v = c.Next() {
		if key := string(k); len(key) < len(prefix) || key[:len(prefix)] != prefix || !f(key, v) {
			return
		}
	}
}

// Next returns a number that the bucket never gave before, from 1.
func (t *Tx) Next(bucket string) (uint64, error) {
	b, err := t.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return 0, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	return b.NextSequence()
}

// Drop removes a bucket with all that is in it.
func (t *Tx) Drop(bucket string) error {
	err := t.tx.DeleteBucket([]byte(bucket))
	if errors.Is(err, berrors.ErrBucketNotFound) {
		return nil
	}
	return err
}

// Table is a bucket whose values are V written as JSON.
type Table[V any] struct {
	DB     *DB
	Bucket string
}

// Get returns the value of key, or ErrNotFound.
func (t Table[V]) Get(key string) (v V, err error) {
	err = t.DB.View(func(tx *Tx) error {
		v, err = t.In(tx, key)
		return err
	})
	return v, err
}

// In is Get within a transaction.
func (t Table[V]) In(tx *Tx, key string) (v V, err error) {
	raw := tx.Get(t.Bucket, key)
	if raw == nil {
		return v, ErrNotFound
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("read %s of %s: %w", key, t.Bucket, err)
	}
	return v, nil
}

// Put writes the value of key.
func (t Table[V]) Put(key string, v V) error {
	return t.DB.Update(func(tx *Tx) error { return t.PutIn(tx, key, v) })
}

// PutIn is Put within a transaction.
func (t Table[V]) PutIn(tx *Tx, key string, v V) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s of %s: %w", key, t.Bucket, err)
	}
	return tx.Put(t.Bucket, key, raw)
}

// Delete removes a key; one that is not there is no error.
func (t Table[V]) Delete(key string) error {
	return t.DB.Update(func(tx *Tx) error { return tx.Delete(t.Bucket, key) })
}

// Change reads, changes and writes the value of key in one transaction. f gets
// the zero V if there is none; its error is returned and nothing is written. It
// may be called more than once.
func (t Table[V]) Change(key string, f func(v *V, found bool) error) error {
	return t.DB.Update(func(tx *Tx) error {
		v, err := t.In(tx, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := f(&v, err == nil); err != nil {
			return err
		}
		return t.PutIn(tx, key, v)
	})
}

// List returns all keys that begin with prefix, and their values, in order.
func (t Table[V]) List(prefix string) (keys []string, values []V, err error) {
	err = t.DB.View(func(tx *Tx) error {
		var bad error
		tx.Each(t.Bucket, prefix, "", func(key string, raw []byte) bool {
			var v V
			if bad = json.Unmarshal(raw, &v); bad != nil {
				bad = fmt.Errorf("read %s of %s: %w", key, t.Bucket, bad)
				return false
			}
			keys, values = append(keys, key), append(values, v)
			return true
		})
		return bad
	})
	return keys, values, err
}
