package main

import (
	"context"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

func init() {
	servers := service.NewStringField("servers")
	topic := service.NewStringField("topic")
	service.MustRegisterBatchInput(
		"kafka",
		service.NewConfigSpec().
			Summary("Reads so many records of a topic as a consumer group.").
			Fields(
				servers,
				topic,
				service.NewStringField("group"),
				service.NewIntField("records"),
				service.NewIntField("batch"),
				service.NewDurationField("period"),
			),
		func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchInput, error) {
			read := &reader{}
			var err error
			if read.servers, err = conf.FieldString("servers"); err != nil {
				return nil, err
			}
			if read.topic, err = conf.FieldString("topic"); err != nil {
				return nil, err
			}
			if read.group, err = conf.FieldString("group"); err != nil {
				return nil, err
			}
			if read.left, err = conf.FieldInt("records"); err != nil {
				return nil, err
			}
			if read.batch, err = conf.FieldInt("batch"); err != nil {
				return nil, err
			}
			if read.period, err = conf.FieldDuration("period"); err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatched(read), nil
		})
	service.MustRegisterBatchOutput(
		"kafka",
		service.NewConfigSpec().
			Summary("Produces to a topic; done when all replicas in sync have it.").
			Fields(servers, topic),
		func(conf *service.ParsedConfig, _ *service.Resources) (
			out service.BatchOutput, policy service.BatchPolicy, inFlight int, err error,
		) {
			write := &writer{}
			if write.servers, err = conf.FieldString("servers"); err != nil {
				return
			}
			if write.topic, err = conf.FieldString("topic"); err != nil {
				return
			}
			return write, policy, 4, nil
		})
}

// reader hands on batches; a position is committed once all before it are dealt with.
type reader struct {
	servers, topic, group string
	left, batch           int
	period                time.Duration
	client                *kgo.Client
	lock                  sync.Mutex
	turns                 []*turn
}

// turn is a batch that was handed on.
type turn struct {
	records []*kgo.Record
	done    bool
}

func (r *reader) Connect(ctx context.Context) (err error) {
	r.client, err = kgo.NewClient(
		kgo.SeedBrokers(r.servers),
		kgo.ConsumeTopics(r.topic),
		kgo.ConsumerGroup(r.group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
	)
	return err
}

func (r *reader) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	if r.left == 0 {
		return nil, nil, service.ErrEndOfInput
	}
	records, err := r.poll(ctx)
	if err != nil {
		return nil, nil, err
	}
	r.left -= len(records)
	batch := make(service.MessageBatch, len(records))
	for i, each := range records {
		batch[i] = service.NewMessage(each.Value)
	}
	mine := &turn{records: records}
	r.lock.Lock()
	r.turns = append(r.turns, mine)
	r.lock.Unlock()
	return batch, func(_ context.Context, err error) error {
		if err == nil {
			r.deal(mine)
		}
		return nil
	}, nil
}

// poll gathers a full batch, or what came within the period after the first record.
func (r *reader) poll(ctx context.Context) ([]*kgo.Record, error) {
	wanted := min(r.batch, r.left)
	records := r.client.PollRecords(ctx, wanted)
	if err := records.Err0(); err != nil {
		return nil, err
	}
	found := records.Records()
	until, cancel := context.WithTimeout(ctx, r.period)
	defer cancel()
	for len(found) < wanted && until.Err() == nil {
		more := r.client.PollRecords(until, wanted-len(found))
		if err := more.Err0(); err != nil && until.Err() == nil {
			return nil, err
		}
		found = append(found, more.Records()...)
	}
	return found, ctx.Err()
}

func (r *reader) deal(mine *turn) {
	r.lock.Lock()
	defer r.lock.Unlock()
	mine.done = true
	for len(r.turns) > 0 && r.turns[0].done {
		r.client.MarkCommitRecords(r.turns[0].records...)
		r.turns = r.turns[1:]
	}
}

func (r *reader) Close(ctx context.Context) error {
	if r.client == nil {
		return nil
	}
	defer r.client.Close()
	return r.client.CommitMarkedOffsets(ctx)
}

type writer struct {
	servers, topic string
	client         *kgo.Client
}

func (w *writer) Connect(ctx context.Context) (err error) {
	w.client, err = kgo.NewClient(kgo.SeedBrokers(w.servers), kgo.DefaultProduceTopic(w.topic))
	return err
}

func (w *writer) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for i, each := range batch {
		value, err := each.AsBytes()
		if err != nil {
			return err
		}
		records[i] = kgo.SliceRecord(value)
	}
	return w.client.ProduceSync(ctx, records...).FirstErr()
}

func (w *writer) Close(ctx context.Context) error {
	if w.client != nil {
		w.client.Close()
	}
	return nil
}
