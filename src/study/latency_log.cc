#include "study/latency_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"
#include "study/under_way.h"
#include "trace/record_parser.h"
#include "trace/trace_input.h"

namespace latte::study {
namespace {

constexpr double kLatestUs = 9e12;  // 104 days; in ns it is still far from TimeNs' end
constexpr std::string_view kHeader = "t_us,lat_us,rw,size,off";

std::optional<TimeNs> parse_us(std::string_view text) {
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return {};
  if (!(value >= 0 && value <= kLatestUs)) return {};
  return static_cast<TimeNs>(value * 1e3);
}

std::optional<LoggedIo> parse_line(std::string_view line) {
  trace::Fields fields(line, ',');
  const auto time_ns = parse_us(fields.next());
  const auto latency_ns = parse_us(fields.next());
  const std::string_view kind = fields.next();
  const auto bytes = trace::parse_number(fields.next());
  const auto offset = trace::parse_number(fields.next());
  if (!time_ns || !latency_ns || !bytes || !offset || !fields.done()) return {};
  if (kind != "R" && kind != "W") return {};
  if (*bytes == 0 || *bytes > model::kMaxLengthBytes) return {};
  return LoggedIo{*time_ns, std::max<TimeNs>(1, *latency_ns),
                  kind == "R" ? IoKind::read : IoKind::write, static_cast<uint32_t>(*bytes)};
}

Error bad_line(const std::string& path, uint64_t number, std::string_view line) {
  return {Errc::invalid, fmt::format("latency log {}, line {}: \"{}\" is no line of {} "
                                     "(microseconds, R or W, bytes)",
                                     path, number, line.substr(0, 100), kHeader)};
}

struct OnTier {
  Tier tier;
  uint32_t slot;
  DispatchIo io;
};

/// What a log's I/Os looked like when they came, and what was true of each.
struct Judged {
  SvmSample sample;
  Truth truth;
  std::array<Tier, kDispatchRules.size()> rules{};
};

std::vector<Judged> replay(const std::vector<LoggedIo>& log, const model::CloudOptions& options,
                           uint64_t seed) {
  model::CloudModel cloud(options, seed);
  DispatchState state;
  UnderWay<OnTier> under_way;
  std::vector<Judged> all;
  for (const LoggedIo& logged : log) {
    const TimeNs now_ns = logged.time_ns + 1;  // 0 is "never" in DispatchState
    while (under_way.ended(now_ns)) {
      const auto [end_ns, done] = under_way.take_first();
      state.note_completion(done.tier, done.slot, done.io, end_ns);
    }
    const DispatchIo io{now_ns, logged.kind, logged.bytes};
    const auto op = io.kind == IoKind::read ? model::ModelOp::read : model::ModelOp::write;
    const TimeNs cloud_ns = cloud.submit({now_ns, op, 0, logged.bytes}) - now_ns;
    Judged judged;
    judged.truth = {logged.latency_ns, cloud_ns};
    SvmInputs inputs;
    make_svm_inputs(state, io, inputs);
    judged.sample = sample_of(inputs, io.kind, judged.truth);
    for (size_t rule = 0; rule < kDispatchRules.size(); ++rule)
      judged.rules[rule] = kDispatchRules[rule].choose(state, io);
    all.push_back(judged);
    for (const Tier tier : {Tier::local, Tier::cloud})
      under_way.add(now_ns + judged.truth.on(tier), {tier, state.note_submission(tier, io), io});
  }
  return all;
}

}  // namespace

Result<std::vector<LoggedIo>> read_latency_log(const std::string& path) {
  auto source = trace::open_byte_source(path);
  if (!source) return source.error();
  trace::TraceInput input(source.take());
  std::vector<LoggedIo> log;
  for (uint64_t number = 1;; ++number) {
    auto piece = input.line();
    if (!piece) return piece.error();
    const std::string_view line = piece.value().bytes;
    if (piece.value().end) break;
    if (line.empty() || (number == 1 && line == kHeader)) continue;
    const auto io = parse_line(line);
    if (piece.value().too_long || !io) return bad_line(path, number, line);
    log.push_back(*io);
  }
  std::stable_sort(log.begin(), log.end(),
                   [](const LoggedIo& a, const LoggedIo& b) { return a.time_ns < b.time_ns; });
  return log;
}

LogStudy study_latency_log(const std::vector<LoggedIo>& log, const model::CloudOptions& cloud,
                           uint64_t seed) {
  const std::vector<Judged> all = replay(log, cloud, seed);
  const size_t half = all.size() / 2;
  std::vector<SvmSample> samples;
  for (size_t i = 0; i < half; ++i) samples.push_back(all[i].sample);
  LogStudy study;
  study.training = train_svm(samples);
  for (size_t i = half; i < all.size(); ++i) {
    const Judged& one = all[i];
    const auto kind = static_cast<size_t>(one.sample.kind);
    const float score = svm_score(study.training.model, one.sample.kind, one.sample.inputs);
    const Tier said = score > 0 ? Tier::cloud : Tier::local;
    study.run.model[kind].add(one.truth, said);
    study.run.latencies[kind].add(one.truth.on(said));
    study.oracle[kind].add(one.truth.on(one.truth.faster()));
    for (size_t rule = 0; rule < kDispatchRules.size(); ++rule) {
      study.run.rules[rule][kind].add(one.truth, one.rules[rule]);
      study.rules[kind][rule].add(one.truth.on(one.rules[rule]));
    }
  }
  return study;
}

}  // namespace latte::study
