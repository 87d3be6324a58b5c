package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

type thing struct{ N int }

func open(t *testing.T, path string) *DB {
	t.Helper()
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "state.db")
	db := open(t, path)
	tab := Table[thing]{db, "things"}
	if _, err := tab.Get("a"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := errors.Join(tab.Put("a/1", thing{1}), tab.Put("a/2", thing{2}), tab.Put("b", thing{3})); err != nil {
		t.Fatal(err)
	}
	if err := tab.Change("a/2", func(v *thing, found bool) error { v.N = 20; return nil }); err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := tab.Change("b", func(v *thing, found bool) error { v.N = 30; return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	if err := tab.Delete("nothing"); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	tab.DB = open(t, path)
	keys, values, err := tab.List("a/")
	if err != nil || fmt.Sprint(keys, values) != "[a/1 a/2] [{1} {20}]" {
		t.Errorf("%v %v %v", keys, values, err)
	}
	if v, err := tab.Get("b"); err != nil || v.N != 3 {
		t.Errorf("%v %v", v, err)
	}
	if err := tab.DB.Update(func(tx *Tx) error { return tx.Put("things", "bad", []byte("{")) }); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Get("bad"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("damaged value: %v", err)
	}
}

func TestUpdateIsWhole(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "state.db"))
	stop := errors.New("stop")
	err := db.Update(func(tx *Tx) error {
		if err := tx.Put("b", "k", []byte("v")); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Error(err)
	}
	_ = db.View(func(tx *Tx) error {
		if v := tx.Get("b", "k"); v != nil {
			t.Errorf("half of a transaction: %q", v)
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if err := db.Update(func(tx *Tx) error { return tx.Put("b", fmt.Sprintf("%03d", i), nil) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n, from := 0, 0
	_ = db.View(func(tx *Tx) error {
		tx.Each("b", "0", "", func(string, []byte) bool { n++; return true })
		tx.Each("b", "0", "040", func(string, []byte) bool { from++; return true })
		return nil
	})
	if n != 50 || from != 10 {
		t.Errorf("%d keys, %d from 040", n, from)
	}
	var a, b uint64
	err = db.Update(func(tx *Tx) (err error) { a, err = tx.Next("seq"); return err })
	err = errors.Join(err, db.Update(func(tx *Tx) (err error) { b, err = tx.Next("seq"); return err }))
	if err != nil || a != 1 || b != 2 {
		t.Errorf("%d %d %v", a, b, err)
	}
	if err := db.Update(func(tx *Tx) error { return errors.Join(tx.Drop("b"), tx.Drop("never")) }); err != nil {
		t.Error(err)
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.db")
	open(t, path)
	_, err := Open(path)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "control.sock") {
		t.Errorf("%v", err)
	}
}

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	junk := bytes.Repeat([]byte("junk"), 4096)
	if err := os.WriteFile(path, junk, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("state.db: %v", err)
	}
	db, fresh, err := OpenCache(path)
	if err != nil || !fresh {
		t.Fatalf("cache.db: %v %v", fresh, err)
	}
	db.Close()
	if old, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(old, junk) {
		t.Errorf("not put aside: %v", err)
	}
	db, fresh, err = OpenCache(path)
	if err != nil || fresh {
		t.Errorf("opened again: %v %v", fresh, err)
	}
	db.Close()
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "state.db"))
	if err := (Table[thing]{db, "t"}).Put("k", thing{7}); err != nil {
		t.Fatal(err)
	}
	copyPath := filepath.Join(dir, "copy.db")
	if err := db.Backup(copyPath); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(copyPath); err == nil {
		t.Error("a backup was overwritten")
	}
	if v, err := (Table[thing]{open(t, copyPath), "t"}).Get("k"); err != nil || v.N != 7 || db.Size() == 0 {
		t.Errorf("%v %v", v, err)
	}
}
