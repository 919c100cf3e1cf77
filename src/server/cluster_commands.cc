#include "server/cluster_commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "io/asio/posix_disk.h"
#include "server/cluster_init.h"
#include "server/command_parts.h"
#include "server/control.h"
#include "server/mirrors.h"

namespace hansa::server {
namespace {

Result<config::Config> target(const ClusterArguments& arguments) {
  if (arguments.root.empty()) return load_or_default(arguments.config);
  if (!arguments.config.empty()) {
    return make_error(ErrorCode::invalid, "name either a configuration or --root, not both");
  }
  return built_in_at(arguments.root);
}

// One line of the running server.
Result<std::string> ask(const config::Config& config, const std::string& command) {
  std::string answer;
  std::optional<Error> refused;
  HANSA_CHECK(ask_server(config.storage.root, command, [&](std::string_view line) {
    constexpr std::string_view good = "answer ";
    constexpr std::string_view bad = "error ";
    if (line.starts_with(good)) answer = std::string(line.substr(good.size()));
    if (line.starts_with(bad)) {
      refused = make_error(ErrorCode::invalid, "the running server says: " + std::string(line.substr(bad.size())));
    }
  }));
  if (refused) return *refused;
  if (answer.empty()) return make_error(ErrorCode::disconnected, "the running server ended before it answered");
  return answer;
}

std::string text(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) return "-";
  if (found->is_string()) return found->get<std::string>().empty() ? "-" : found->get<std::string>();
  return found->dump();
}

std::string yes_no(const nlohmann::json& json, const char* name) {
  return json.value(name, false) ? "yes" : "no";
}

std::string percent_free(const nlohmann::json& member) {
  const double total = member.value("disk_total", 0.0);
  if (total <= 0) return "-";
  constexpr double hundred = 100;
  return std::to_string(static_cast<int>(hundred * member.value("disk_available", 0.0) / total)) + "%";
}

// "12 blobs, 3.4 MB, 5 s left": what it lacks and is fetching.
std::string missing_text(const nlohmann::json& member) {
  const auto repair = member.value("repair", nlohmann::json::object());
  const auto owed = repair.value("owed", std::uint64_t{0});
  if (owed == 0) return "-";
  constexpr double megabyte = 1e6;
  char bytes[32];
  std::snprintf(bytes, sizeof bytes, "%.1f MB", repair.value("owed_bytes", 0.0) / megabyte);
  std::string out = std::to_string(owed) + (owed == 1 ? " blob, " : " blobs, ") + bytes;
  const auto left = repair.find("seconds_left");
  if (left != repair.end() && left->is_number()) out += ", " + left->dump() + " s left";
  return out;
}

void print_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const int width = i + 1 < row.size() ? static_cast<int>(widths[i]) + 2 : 0;
      std::printf("%-*s", width, row[i].c_str());
    }
    std::printf("\n");
  }
}

void print_status(const nlohmann::json& status) {
  std::vector<std::vector<std::string>> rows{
      {"MEMBER", "STATE", "ALIVE", "IN LAYOUT", "DISK FREE", "MISSING", "VERSION", "URL"}};
  for (const auto& member : status.value("members", nlohmann::json::array())) {
    rows.push_back({text(member, "id"), text(member, "state"), yes_no(member, "alive"), yes_no(member, "in_layout"),
                    percent_free(member), missing_text(member), text(member, "version"), text(member, "url")});
  }
  print_table(rows);
  if (status.contains("metadata") && status["metadata"].contains("reachable")) {  // a single node's has none
    const auto& metadata = status["metadata"];
    std::printf("\nmetadata: etcd %s, %s; view at revision %s of %s\n", text(metadata, "version").c_str(),
                metadata.value("reachable", false) ? "reachable" : "NOT reachable", text(metadata, "applied").c_str(),
                text(metadata, "target").c_str());
    if (text(metadata, "alarm") != "-") std::printf("ALARM: %s\n", text(metadata, "alarm").c_str());
  }
  if (status.contains("voters") && status["voters"].contains("members")) {
    rows = {{"VOTER", "NODE", "ANSWERS", "LEARNER"}};
    for (const auto& voter : status["voters"].value("members", nlohmann::json::array())) {
      rows.push_back({text(voter, "member"), text(voter, "node"), yes_no(voter, "answers"), yes_no(voter, "learner")});
    }
    std::printf("\n");
    print_table(rows);
  }
  for (const auto& line : status.value("degraded", std::vector<std::string>{})) {
    std::printf("degraded: %s\n", line.c_str());
  }
  for (const auto& rule : status.value("drift", nlohmann::json::array())) {
    std::printf("drift: %s differs: %s\n", text(rule, "rule").c_str(), text(rule, "groups").c_str());
  }
}

int show_status(const ClusterArguments& arguments, const config::Config& config) {
  const auto answer = ask(config, "cluster status");
  if (!answer) return fail(answer.error());
  const auto status = nlohmann::json::parse(*answer, nullptr, false);
  if (arguments.json || !status.is_object()) {
    std::printf("%s\n", answer->c_str());
  } else {
    print_status(status);
  }
  return 0;
}

int show_answer(const config::Config& config, const std::string& command) {
  const auto answer = ask(config, command);
  if (!answer) return fail(answer.error());
  std::printf("%s\n", answer->c_str());
  return 0;
}

// Exit code 0: it may stop; 1: not now, with the reason.
int show_may_stop(const ClusterArguments& arguments, const config::Config& config) {
  const auto answer = ask(config, "cluster may-stop " + arguments.member);
  if (!answer) return fail(answer.error());
  const auto json = nlohmann::json::parse(*answer, nullptr, false);
  const bool may = json.is_object() && json.value("may_stop", false);
  if (arguments.json) {
    std::printf("%s\n", answer->c_str());
  } else {
    std::printf("%s%s\n", may ? "yes" : "no: ", may ? "" : text(json, "reason").c_str());
  }
  return may ? 0 : command_failed;
}

std::string absolute(const std::string& file) {
  return std::filesystem::absolute(file).lexically_normal().string();
}

int begin_anew(const Result<std::vector<std::string>>& notes) {
  if (!notes) return fail(notes.error());
  for (const auto& note : *notes) std::printf("%s\n", note.c_str());
  return 0;
}

int found(const ClusterArguments& arguments, const config::Config& config) {
  const auto founded = init_cluster(config);
  if (!founded) return fail(founded.error());
  if (arguments.json) {
    std::printf("%s\n", nlohmann::json{{"join", founded->join_url}, {"records", founded->records}}.dump().c_str());
    return 0;
  }
  std::printf("%s\n", founded->join_url.c_str());
  std::fprintf(
      stderr,
      "the cluster is founded%s. Start this member with: hansa serve CONFIG\n"
      "and others, on their machines, with: hansa serve --join URL CONFIG (the URL above is good for a day;\n"
      "hansa cluster token prints another)\n",
      founded->records > 0 ? (" with " + std::to_string(founded->records) + " records of this node").c_str() : "");
  return 0;
}

int show_mirrors(const ClusterArguments& arguments, const config::Config& config) {
  const auto format = parse_mirror_format(arguments.format);
  if (!format) return fail(format.error());
  const auto status = ask(config, "cluster status");
  if (!status) return fail(status.error());
  const auto addresses = mirror_addresses(*status, arguments.client);
  if (!addresses) return fail(addresses.error());
  const auto file = mirror_file(*format, *addresses, arguments.name);
  if (!file) return fail(file.error());
  std::printf("%s", file->c_str());
  return 0;
}

}  // namespace

CLI::App* add_cluster_commands(CLI::App& app, ClusterArguments& out) {
  auto* cluster = app.add_subcommand("cluster", "found a cluster, look at it, take members out");
  cluster->require_subcommand(1);
  const auto add = [&](const char* name, const char* help) {
    auto* command = cluster->add_subcommand(name, help);
    command->add_option("--root", out.root, "data folder, instead of a configuration");
    command->add_flag("--json", out.json, "for programs");
    return command;
  };
  const auto config = [&out](CLI::App* command) {
    command->add_option("CONFIG", out.config, "configuration file of this member");
  };
  out.init = add("init", "make this machine the first member of a new cluster, with its data; prints the join URL");
  out.status = add("status", "members, voters, what is not as it should be");
  out.drain = add("drain", "take a member out once the others hold what it holds");
  out.forget = add("forget", "give up a member that is lost for ever");
  out.may_stop = add("may-stop", "may this member (or that one) stop now? exit code 0: yes");
  out.token = add("token", "print a join URL, good for a day");
  out.clear_alarm = add("clear-alarm", "the metadata is as it should be; bytes may be collected again");
  out.backup = add("backup", "write the metadata to a file");
  out.restore = add("restore", "a bare machine becomes the first member of a new cluster with a backup's metadata");
  out.recover = add("recover", "go on from this voter alone after the others are lost for ever");
  for (auto* command : {out.backup, out.restore}) command->add_option("FILE", out.file, "the backup")->required();
  for (auto* command : {out.drain, out.forget}) command->add_option("ID", out.member, "member")->required();
  out.may_stop->add_option("ID", out.member, "member; default: this one");
  for (auto* command : {out.may_stop, out.init, out.status, out.drain, out.forget, out.token, out.clear_alarm,
                        out.backup, out.restore, out.recover})
    config(command);
  out.mirrors = app.add_subcommand("mirrors", "print a file for clients that know all members");
  out.mirrors->add_option("FORMAT", out.format, "containerd (hosts.toml) or podman (registries.conf)")->required();
  config(out.mirrors);
  out.mirrors->add_option("--root", out.root, "data folder, instead of a configuration");
  out.mirrors->add_option("--name", out.name, "registry that images are named by; default: the first member");
  out.mirrors->add_option("--client", out.client, "name of the machine that it is for: each has an order of its own");
  return cluster;
}

int run_cluster_command(ClusterArguments arguments) {
  // "may-stop CONFIG" asks for this member.
  const bool only_config = arguments.may_stop->parsed() && arguments.config.empty() && arguments.root.empty();
  if (only_config && std::filesystem::exists(arguments.member)) arguments.config.swap(arguments.member);
  const auto config = target(arguments);
  if (!config) return fail(config.error());
  if (arguments.mirrors->parsed()) return show_mirrors(arguments, *config);
  if (arguments.init->parsed()) return found(arguments, *config);
  if (arguments.restore->parsed()) return begin_anew(restore_cluster(*config, absolute(arguments.file)));
  if (arguments.recover->parsed()) return begin_anew(recover_cluster(*config));
  if (arguments.backup->parsed()) return show_answer(*config, "cluster backup " + absolute(arguments.file));
  if (arguments.status->parsed()) return show_status(arguments, *config);
  if (arguments.may_stop->parsed()) return show_may_stop(arguments, *config);
  if (arguments.drain->parsed()) return show_answer(*config, "cluster drain " + arguments.member);
  if (arguments.forget->parsed()) return show_answer(*config, "cluster forget " + arguments.member);
  if (arguments.clear_alarm->parsed()) return show_answer(*config, "cluster clear-alarm");
  return show_answer(*config, "cluster token");
}

}  // namespace hansa::server
