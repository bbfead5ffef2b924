package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func init() {
	service.MustRegisterBatchOutput(
		"postgres_copy",
		service.NewConfigSpec().
			Summary("Copies each batch into tables, in one transaction.").
			Fields(
				service.NewStringField("url"),
				service.NewIntField("max_in_flight"),
				service.NewObjectListField(
					"tables",
					service.NewStringField("table"),
					service.NewStringMapField("columns").
						Description("Of each column, the path of its value, with dots."),
				),
			),
		func(conf *service.ParsedConfig, _ *service.Resources) (
			out service.BatchOutput, policy service.BatchPolicy, inFlight int, err error,
		) {
			copies := &copier{}
			if copies.url, err = conf.FieldString("url"); err != nil {
				return
			}
			if inFlight, err = conf.FieldInt("max_in_flight"); err != nil {
				return
			}
			copies.connections = int32(inFlight)
			tables, err := conf.FieldObjectList("tables")
			for _, each := range tables {
				into, err := newTable(each)
				if err != nil {
					return nil, policy, 0, err
				}
				copies.tables = append(copies.tables, into)
			}
			return copies, policy, inFlight, err
		})
}

// table is where rows go, and where their values are.
type table struct {
	statement string
	paths     [][]string
}

func newTable(conf *service.ParsedConfig) (table, error) {
	name, err := conf.FieldString("table")
	if err != nil {
		return table{}, err
	}
	columns, err := conf.FieldStringMap("columns")
	if err != nil {
		return table{}, err
	}
	var names []string
	for each := range columns {
		names = append(names, each)
	}
	slices.Sort(names)
	found := table{statement: fmt.Sprintf("COPY %s (%s) FROM STDIN", name, strings.Join(names, ", "))}
	for _, each := range names {
		found.paths = append(found.paths, strings.Split(columns[each], "."))
	}
	return found, nil
}

type copier struct {
	url         string
	connections int32
	tables      []table
	pool        *pgxpool.Pool
}

func (c *copier) Connect(ctx context.Context) error {
	conf, err := pgxpool.ParseConfig(c.url)
	if err != nil {
		return err
	}
	conf.MaxConns = c.connections
	c.pool, err = pgxpool.NewWithConfig(context.Background(), conf)
	return err
}

func (c *copier) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	rows := make([]any, len(batch))
	for i, each := range batch {
		var err error
		if rows[i], err = each.AsStructured(); err != nil {
			return err
		}
	}
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		var text bytes.Buffer
		for _, into := range c.tables {
			text.Reset()
			for _, row := range rows {
				if err := into.write(&text, row); err != nil {
					return err
				}
			}
			if _, err := tx.Conn().PgConn().CopyFrom(ctx, &text, into.statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *copier) Close(ctx context.Context) error {
	if c.pool != nil {
		c.pool.Close()
	}
	return nil
}

// write adds one line of COPY's text format.
func (t table) write(text *bytes.Buffer, row any) error {
	for i, path := range t.paths {
		if i > 0 {
			text.WriteByte('\t')
		}
		value := row
		for _, name := range path {
			object, ok := value.(map[string]any)
			if !ok {
				return errors.New("no object where " + strings.Join(path, ".") + " was looked for")
			}
			value = object[name]
		}
		switch value := value.(type) {
		case nil:
			text.WriteString(`\N`)
		case string:
			escape(text, value)
		case bool:
			text.WriteString(strconv.FormatBool(value))
		case float64:
			text.WriteString(strconv.FormatFloat(value, 'f', -1, 64))
		case json.Number:
			text.WriteString(value.String())
		default:
			return fmt.Errorf("%s is a %T", strings.Join(path, "."), value)
		}
	}
	text.WriteByte('\n')
	return nil
}

func escape(text *bytes.Buffer, value string) {
	if !strings.ContainsAny(value, "\\\t\n\r") {
		text.WriteString(value)
		return
	}
	for _, each := range []byte(value) {
		switch each {
		case '\\':
			text.WriteString(`\\`)
		case '\t':
			text.WriteString(`\t`)
		case '\n':
			text.WriteString(`\n`)
		case '\r':
			text.WriteString(`\r`)
		default:
			text.WriteByte(each)
		}
	}
}
