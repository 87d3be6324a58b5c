package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// reloadJSON is what reading the configuration again came to: keys by name.
type reloadJSON struct {
	File    string   `json:"file"`
	Changed []string `json:"changed"` // hold now
	Restart []string `json:"restart"` // changed in the file, hold from the next start
}

func (r reloadJSON) String() string {
	said := "nothing changed"
	if len(r.Changed) > 0 {
		said = "now in force: " + strings.Join(r.Changed, ", ")
	}
	if len(r.Restart) > 0 {
		said += "; at the next start only: " + strings.Join(r.Restart, ", ")
	}
	return said
}

func cmdConfigReload(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	n, err := reach(c.ctx, cfg.Data)
	if err != nil {
		return fmt.Errorf("%w: it reads the configuration when it starts", err)
	}
	var r reloadJSON
	if err := errors.Join(n.ask(c.ctx, "reload", struct{}{}, &r), n.close()); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(r)
	}
	fmt.Fprintf(c.out, "%s: %s\n", or(r.File, "built-in default"), r)
	return nil
}

// reload reads the configuration again. A file with an error in it changes nothing.
// Keys marked reload:"no" keep their value until the next start.
func (s *server) reload() (r reloadJSON, err error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	defer func() {
		if err != nil {
			s.log.Error("read the configuration again", "error", err)
		} else {
			s.log.Info("configuration read again: "+r.String(), "file", r.File)
		}
	}()
	cfg, err := loadConfig(s.call.config, s.call.data)
	if err != nil {
		return r, fmt.Errorf("nothing is changed: %w", err)
	}
	k := s.core
	r = reloadJSON{File: cfg.file, Changed: []string{}, Restart: []string{}}
	next := cfg
	r.compare("", reflect.ValueOf(k.conf()).Elem(), reflect.ValueOf(&next).Elem(), false)
	k.live.Store(&next)
	var errs []error
	for _, apply := range s.reloads {
		errs = append(errs, apply(next))
	}
	if err := errors.Join(errs...); err != nil {
		return r, fmt.Errorf("%s; but not all of it: %w", r, err)
	}
	return r, nil
}

// compare names the keys that differ. What needs a restart keeps its old value in next.
func (r *reloadJSON) compare(prefix string, old, next reflect.Value, restart bool) {
	t := old.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, no := prefix+f.Tag.Get("toml"), restart || f.Tag.Get("reload") == "no"
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Struct:
			r.compare(name+".", old.Field(i), next.Field(i), no)
		case same(old.Field(i), next.Field(i)):
		case no:
			next.Field(i).Set(old.Field(i))
			r.Restart = append(r.Restart, name)
		default:
			r.Changed = append(r.Changed, name)
		}
	}
}

// same compares two values; a list that is empty is one that is not there.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// reloadCore changes what the core itself holds: limits, the spool, the rules of
// the agent, the peers, the log.
func (s *server) reloadCore(cfg config) error {
	k := s.core
	k.setLimits(cfg.Limits)
	k.agent.SetPolicy(cfg.policy())
	if s.call.level != nil {
		s.call.level.Set(cfg.level())
	}
	return errors.Join(
		k.reloadTLS(cfg),
		k.local.SetLimits(context.Background(), k.spoolLimits(cfg)),
		k.peers.refresh(cfg))
}

// level is the least level of what is logged; the key was checked.
func (c *config) level() slog.Level {
	var l slog.Level
	_ = l.UnmarshalText([]byte(c.Log))
	return l
}
