//! Makes a plan out of an order: finds the plugins, asks them, and collects every reason against it.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use plugin_api::Template;
use plugin_api::info::PluginInfo;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::checks::{Answers, Checks};
use super::configuration::{self, ConfigurationProblem};
use super::credentials::{all_texts, credential_texts, texts_within};
use super::limits::Limits;
use super::order::{Delivery, Order, Start};
use super::parameters::{self, ParameterProblem, PluginSchema};
use super::plan::{
    BaseStep, Part, Plan, PlanProblem, PlannedContent, PlannedPlugin, ProviderStep, Reason,
    Refusal, TargetStep,
};
use super::secrets::Secrets;
use crate::images::{Room, Store, StoreError};
use crate::plugins::{LibraryCopy, NoPlugin, Plugin, Registry};
use crate::process::Isolation;

/// Longest text of a provider or of credentials, in bytes: all logs are searched for its secrets.
const MAX_DELIVERY_BYTES: usize = 128 << 10;

/// Most deliveries of one order: all of them are asked about at once.
const MAX_DELIVERIES: usize = 64;

/// Makes plans.
#[derive(Debug)]
pub struct Planner<'a> {
    registry: &'a Registry,
    store: &'a Store,
}

/// The plugins of an order.
struct Found<'a> {
    os: Option<ReadyPlugin<'a>>,
    clouds: Vec<(String, ReadyPlugin<'a>)>,
}

/// A plugin that may be used.
struct ReadyPlugin<'a> {
    name: &'a str,
    info: Option<&'a PluginInfo>,
    library: Utf8PathBuf,
    copy: LibraryCopy,
}

impl ReadyPlugin<'_> {
    fn schema(&self) -> PluginSchema<'_> {
        PluginSchema::of(self.name, self.info)
    }

    fn planned(&self, order: &Order) -> PlannedPlugin {
        let version = self.info.and_then(|info| info.version.as_ref());
        PlannedPlugin {
            name: self.name.to_owned(),
            version: version.map(ToString::to_string).unwrap_or_default(),
            library: self.library.clone(),
            library_digest: self.copy.sha256.clone(),
            copy: self.copy.clone(),
            delegate: self.info.and_then(|info| info.delegate.clone()),
            parameters: self.schema().select(&order.parameters),
            configuration: order.configuration.get(self.name).cloned().unwrap_or_default(),
            limits: Limits::of(&order.limits, self.name),
        }
    }
}

impl<'a> Planner<'a> {
    /// A planner that finds plugins in `registry` and equal images in `store`.
    pub fn new(registry: &'a Registry, store: &'a Store) -> Self {
        Self { registry, store }
    }

    /// The plan for `order`. Nothing is built and no record is made.
    ///
    /// # Errors
    /// [`Refusal`] with every reason against it.
    pub fn plan(
        &self,
        order: &Order,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Plan, Refusal> {
        let refuse = |reasons| Err(Refusal { reasons });
        let contradictions = contradictions(order);
        if !contradictions.is_empty() {
            return refuse(contradictions.into_iter().map(Reason::whole).collect());
        }
        let (template, template_source) = match template_of(order) {
            Ok(template) => template,
            Err(problem) => return refuse(vec![Reason::whole(problem)]),
        };
        let mut reasons = Vec::new();
        let found = self.find(order, &template, &mut reasons);
        let schemas: Vec<PluginSchema<'_>> = found.schemas();
        let wrong = parameters::problems(&order.parameters, &schemas);
        let unfit = found.configuration_problems(order);
        // What is known to be wrong is not asked about again.
        let order = &without(order, &wrong, &unfit);
        let wrong = self.told(wrong, order, &template, !reasons.is_empty());
        reasons.extend(wrong.into_iter().map(|problem| found.against(problem)));
        reasons.extend(unfit.into_iter().map(|problem| Reason {
            against: found.made_by(problem.plugin()),
            problem: problem.into(),
        }));
        let secrets =
            Secrets::new([secret_texts(order, &schemas), found.secret_settings(order)].concat());
        let os = found.os.as_ref().map(|plugin| plugin.planned(order));
        let clouds: Vec<(String, PlannedPlugin)> = found
            .clouds
            .iter()
            .map(|(target, plugin)| (target.clone(), plugin.planned(order)))
            .collect();
        let checks = Checks {
            store: self.store,
            order,
            template: &template,
            os: os.as_ref(),
            clouds: &clouds,
            secrets: &secrets,
        };
        let Answers { reasons: objections, cache_key, mut content } = match checks.ask(cancelled) {
            Ok(answers) => answers,
            Err(error) => return refuse(vec![Reason::whole(PlanProblem::Prepare(error))]),
        };
        reasons.extend(objections);
        if !reasons.is_empty() {
            return refuse(reasons);
        }
        let base = match self.base_step(order, &template, os.as_ref(), cache_key.as_deref()) {
            Ok(base) => base,
            Err(error) => return refuse(vec![Reason::whole(error)]),
        };
        let mut plan = Plan {
            room: Room::default(),
            isolation: Isolation::available().describe(),
            name: order.name.clone().unwrap_or_else(|| template.name.clone()),
            labels: order.labels.clone(),
            parameters: secrets.mask_document(masked(&order.parameters, &schemas)),
            base,
            providers: provider_steps(order, &clouds, &secrets),
            targets: target_steps(order, os.as_ref(), &clouds, &mut content),
            source_date_epoch: order.source_date_epoch,
            template,
            template_source,
            secrets,
            private_files: order.private_files.clone(),
            is_remote: order.is_remote,
        };
        let wanted = plan.reserved_bytes();
        let room = if order.waits_for_room {
            self.store.room_without_builds(wanted)
        } else {
            self.store.room_for(wanted)
        };
        match room {
            Ok(room) => plan.room = room,
            Err(error) => return refuse(vec![Reason::whole(error)]),
        }
        Ok(plan)
    }

    /// Finds and probes the plugins of an order.
    fn find(&self, order: &Order, template: &Template, reasons: &mut Vec<Reason>) -> Found<'a> {
        let mut keep = |found, against| match self.ready(found) {
            Ok(plugin) => Some(plugin),
            Err(problem) => {
                reasons.push(Reason { against, problem });
                None
            },
        };
        let os = if order.targets.is_empty() || order.targets.iter().any(|it| order.builds(it)) {
            keep(self.os_plugin(template), Part::System)
        } else {
            None
        };
        let cloud = |target: &String| {
            let against = Part::Targets(vec![target.clone()]);
            Some((target.clone(), keep(self.registry.cloud_plugin(target), against)?))
        };
        let clouds = order.targets.iter().filter_map(cloud).collect();
        Found { os, clouds }
    }

    fn os_plugin(&self, template: &Template) -> Result<&'a Plugin, NoPlugin> {
        let os = &template.os;
        self.registry.os_plugin(&os.name, &os.version, &os.arch)
    }

    /// Those problems that are told when plugins are missing, or the order is what is left of one.
    fn told(
        &self,
        mut problems: Vec<ParameterProblem>,
        order: &Order,
        template: &Template,
        is_missing: bool,
    ) -> Vec<ParameterProblem> {
        // A plugin that is missing may read what the others know nothing alike of.
        let may_be_its = |problem: &ParameterProblem| {
            is_missing && matches!(problem, ParameterProblem::Unknown { nearest: None, .. })
        };
        problems.retain(|problem| {
            !may_be_its(problem) && !self.is_read_elsewhere(order, template, problem)
        });
        problems
    }

    /// Whether a parameter that nobody reads may be for a plugin that an accepted request needed and the rest
    /// of it does not need any more. One that is gone may have read it.
    fn is_read_elsewhere(
        &self,
        order: &Order,
        template: &Template,
        problem: &ParameterProblem,
    ) -> bool {
        let ParameterProblem::Unknown { name, .. } = problem else { return false };
        let all_targets = &order.so_far.all_targets;
        let clouds = all_targets.iter().map(|it| self.registry.cloud_plugin(it));
        let mut plugins = clouds.chain([self.os_plugin(template)]);
        let may_read = |plugin: Result<&Plugin, NoPlugin>| {
            plugin
                .ok()
                .is_none_or(|plugin| PluginSchema::of(plugin.name(), plugin.info()).reads(name))
        };
        !all_targets.is_empty() && plugins.any(may_read)
    }

    /// A plugin with its library, once a probe has found it sound.
    fn ready(&self, found: Result<&'a Plugin, NoPlugin>) -> Result<ReadyPlugin<'a>, PlanProblem> {
        let plugin = found?;
        let info = plugin.info();
        let copy = self.registry.copy(plugin)?;
        let library = self.registry.library(plugin).map_or(&*copy.path, |library| &library.path);
        let library = library.to_owned();
        Ok(ReadyPlugin { name: plugin.name(), info, library, copy })
    }

    fn base_step(
        &self,
        order: &Order,
        template: &Template,
        os: Option<&PlannedPlugin>,
        cache_key: Option<&str>,
    ) -> Result<BaseStep, StoreError> {
        let os = match (&order.start, os) {
            (Start::BaseImage(record), _) => return Ok(BaseStep::Reuse(record.clone())),
            (Start::TargetImage(_), _) | (_, None) => return Ok(BaseStep::None),
            (Start::Template(_), Some(os)) => os,
        };
        let reuse_key = cache_key.map(|key| reuse_key(order, template, os, key));
        if let (Some(key), false) = (&reuse_key, order.rebuild || order.own_base)
            && let Some(record) = self.store.find_reusable(key)?
        {
            return Ok(BaseStep::Reuse(Box::new(record)));
        }
        Ok(BaseStep::Build { plugin: Box::new(os.clone()), reuse_key, rebuild: order.rebuild })
    }
}

impl Found<'_> {
    fn plugins(&self) -> impl Iterator<Item = &ReadyPlugin<'_>> {
        self.os.iter().chain(self.clouds.iter().map(|(_, plugin)| plugin))
    }

    fn against(&self, problem: ParameterProblem) -> Reason {
        let against = problem.plugin().map_or(Part::Whole, |plugin| self.made_by(plugin));
        Reason { against, problem: problem.into() }
    }

    /// What is not made without `plugin`.
    fn made_by(&self, plugin: &str) -> Part {
        if self.os.as_ref().is_some_and(|os| os.name == plugin) {
            return Part::System;
        }
        let targets = self.clouds.iter().filter(|(_, cloud)| cloud.name == plugin);
        Part::Targets(targets.map(|(target, _)| target.clone()).collect())
    }

    fn schemas(&self) -> Vec<PluginSchema<'_>> {
        self.plugins().map(ReadyPlugin::schema).collect()
    }

    /// What is wrong with the settings of these plugins.
    fn configuration_problems(&self, order: &Order) -> Vec<ConfigurationProblem> {
        let of = |plugin: &ReadyPlugin<'_>| {
            let given = order.configuration.get(plugin.name)?;
            Some(configuration::problems(plugin.name, plugin.info, given))
        };
        self.plugins().filter_map(of).flatten().collect()
    }

    /// What is secret in the settings of these plugins.
    fn secret_settings(&self, order: &Order) -> Vec<String> {
        let of = |plugin: &ReadyPlugin<'_>| {
            let given = order.configuration.get(plugin.name)?;
            Some(configuration::secret_texts(plugin.name, plugin.info, given))
        };
        self.plugins().filter_map(of).flatten().collect()
    }
}

/// The order without the parameters and settings that are wrong.
fn without(order: &Order, wrong: &[ParameterProblem], unfit: &[ConfigurationProblem]) -> Order {
    let mut order = order.clone();
    for (plugin, key) in unfit.iter().filter_map(ConfigurationProblem::setting) {
        if let Some(settings) = order.configuration.get_mut(plugin) {
            settings.remove(key);
        }
    }
    for problem in wrong {
        if let Some(name) = problem.parameter() {
            order.parameters.remove(name);
        }
    }
    order
}

fn contradictions(order: &Order) -> Vec<PlanProblem> {
    let mut problems = Vec::new();
    let mut contradiction = |message: &str, hint: &str| {
        problems.push(PlanProblem::Contradiction {
            message: message.to_owned(),
            hint: hint.to_owned(),
        });
    };
    if matches!(order.start, Start::TargetImage(_)) && order.targets.len() != 1 {
        contradiction("a target image is for exactly one target", "name that target");
    }
    if order.deliveries.iter().any(|delivery| !order.targets.contains(&delivery.target)) {
        contradiction(
            "a delivery is for a target that is not built",
            "name its target among the targets",
        );
    }
    let is_long = |to: &Delivery| {
        let credentials = to.credentials.as_deref().unwrap_or_default();
        to.provider.len().max(credentials.len()) > MAX_DELIVERY_BYTES
    };
    if order.deliveries.len() > MAX_DELIVERIES {
        contradiction("there are more than 64 deliveries", "spread them over several requests");
    }
    if order.deliveries.iter().any(is_long) {
        contradiction(
            "a provider or its credentials are longer than 128 KiB",
            "give what is needed for this provider alone",
        );
    }
    let mut seen = BTreeSet::new();
    if !order.targets.iter().all(|target| seen.insert(target)) {
        contradiction("a target is named twice", "name each target once");
    }
    let mut seen = BTreeSet::new();
    let mut is_new = |to: &Delivery| seen.insert((to.target.clone(), to.provider.clone()));
    if !order.deliveries.iter().all(&mut is_new) {
        contradiction("a provider is named twice for one target", "name each provider once");
    }
    problems
}

fn template_of(order: &Order) -> Result<(Template, String), PlanProblem> {
    let record = match &order.start {
        Start::Template(loaded) => return Ok((loaded.template.clone(), loaded.source.clone())),
        Start::BaseImage(record) | Start::TargetImage(record) => record,
    };
    let stored = record.template.as_ref();
    let read = stored.and_then(|stored| {
        let template = serde_json::from_value(stored.canonical.clone()).ok()?;
        Some((template, stored.source.clone()))
    });
    read.ok_or_else(|| PlanProblem::Contradiction {
        message: format!("image `{}` has no template that can be read", record.id),
        hint: "build it anew from a template".to_owned(),
    })
}

fn target_steps(
    order: &Order,
    os: Option<&PlannedPlugin>,
    clouds: &[(String, PlannedPlugin)],
    content: &mut BTreeMap<String, PlannedContent>,
) -> Vec<TargetStep> {
    let Some(os) = os else {
        return Vec::new();
    };
    clouds
        .iter()
        .filter(|(target, _)| order.builds(target))
        .filter_map(|(target, cloud)| {
            Some(TargetStep {
                target: target.clone(),
                os: os.clone(),
                cloud: cloud.clone(),
                content: content.remove(target)?,
            })
        })
        .collect()
}

fn provider_steps(
    order: &Order,
    clouds: &[(String, PlannedPlugin)],
    secrets: &Secrets,
) -> Vec<ProviderStep> {
    let step = |(delivery, label): (&Delivery, String)| {
        let (target, cloud) = clouds.iter().find(|(target, _)| *target == delivery.target)?;
        let image = order.target_image(target).filter(|_| !delivery.snapshot);
        Some(ProviderStep {
            target: target.clone(),
            cloud: cloud.clone(),
            provider: secrets.mask(&delivery.provider),
            label,
            given: delivery.provider.clone(),
            credentials: delivery.credentials.clone(),
            snapshot: delivery.snapshot,
            target_image: image.cloned().map(Box::new),
        })
    };
    order.deliveries.iter().zip(order.provider_labels(secrets)).filter_map(step).collect()
}

/// Everything that the bytes of a base image depend on.
fn reuse_key(order: &Order, template: &Template, os: &PlannedPlugin, cache_key: &str) -> String {
    let document = json!({
        "format": 1,
        "template": template,
        "parameters": os.parameters,
        "configuration": os.configuration,
        "plugin": [os.name, os.version, os.library_digest],
        "cache_key": cache_key,
        "source_date_epoch": order.source_date_epoch,
    });
    let digest = Sha256::digest(document.to_string());
    hex::encode(digest)
}

/// Names of parameters that a schema marks as secret.
fn secret_names<'s>(schemas: &'s [PluginSchema<'s>]) -> impl Iterator<Item = &'s str> {
    schemas.iter().flat_map(PluginSchema::secret_names)
}

fn secret_texts(order: &Order, schemas: &[PluginSchema<'_>]) -> Vec<String> {
    // As they were given, and as plugins see them: a list may have been given as one text.
    let parameters = schemas.iter().flat_map(|schema| {
        let cast = schema.select(&order.parameters);
        schema
            .secret_names()
            .flat_map(|name| [order.parameters.get(name), cast.get(name)])
            .flatten()
            .flat_map(all_texts)
            .collect::<Vec<_>>()
    });
    let deliveries = order.all_deliveries();
    let credentials = deliveries.iter().filter_map(|delivery| delivery.credentials.as_deref());
    let credentials = credentials.flat_map(credential_texts);
    let providers = deliveries.iter().flat_map(|delivery| texts_within(&delivery.provider));
    parameters.chain(credentials).chain(providers).collect()
}

fn masked(given: &Map<String, Value>, schemas: &[PluginSchema<'_>]) -> Map<String, Value> {
    let mut masked = given.clone();
    for name in secret_names(schemas) {
        if let Some(value) = masked.get_mut(name) {
            *value = Value::from("<redacted>");
        }
    }
    masked
}
